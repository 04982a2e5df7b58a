// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/prompt_text.h"

#include <filesystem>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/input_file.h"
#include "base/utf8.h"

namespace headroom::experiment {
namespace {

constexpr std::size_t max_prompt_bytes = 16u << 20;
constexpr const char* too_large = "is too large for a prompt";

std::string shown_name(const std::string& file) {
  if (file.starts_with("/dev/") || file.starts_with("/proc/")) return "the text from " + file;  // a name says nothing
  return escape_controls(replace_invalid_utf8(std::filesystem::path(file).filename().string()));
}

std::size_t occurrences(std::string_view text, std::string_view wanted) {
  std::size_t count = 0;
  for (auto at = text.find(wanted); at != std::string_view::npos; at = text.find(wanted, at + wanted.size())) ++count;
  return count;
}

}  // namespace

std::string read_prompt_file(const std::string& file, const JobContext& job) {
  return read_input_file(file, {"a text file", too_large, max_prompt_bytes}, job);
}

void check_prompt_text(std::string_view text, const std::string& place) {
  if (text.empty()) throw input_error(place, "is empty", "at least one character", "0 bytes");
  if (text.size() > max_prompt_bytes)
    throw input_error(place, too_large, std::to_string(max_prompt_bytes) + " bytes at most",
                      std::to_string(text.size()) + " bytes");
  if (const std::string encoding = foreign_encoding(text); !encoding.empty()) {
    throw input_error(place,
                      "is in another encoding: convert it, e.g. with iconv -f " +
                          encoding.substr(0, encoding.find(' ')) + " -t UTF-8",
                      "UTF-8 text", encoding);
  }
  const std::string kind = file_kind(text);
  const std::string is = kind.starts_with("a") ? ": " + kind : "";  // the others say no more than that it is text
  if (const auto nul = text.find('\0'); nul != std::string_view::npos)
    throw input_error(place, "is binary, not text", "UTF-8 text", "a zero byte at offset " + std::to_string(nul) + is);
  if (const auto bad = first_invalid_utf8(text))
    throw input_error(place, "is not valid UTF-8", "UTF-8 text",
                      "an invalid byte at offset " + std::to_string(*bad) + is);
}

std::vector<std::string> prompt_text_notes(std::string_view text, const std::string& file) {
  std::vector<std::string> notes;
  const std::string name = shown_name(file);
  if (text.starts_with("\xef\xbb\xbf"))
    notes.push_back(
        name + " begins with a byte order mark (ef bb bf), which is part of the prompt: remove it if it should not be");
  if (const std::size_t lines = occurrences(text, "\r\n"); lines > 0) {
    notes.push_back(name + " has " + std::to_string(lines) + (lines == 1 ? " line that ends" : " lines that end") +
                    " in CR LF: the carriage returns are part of the prompt");
  }
  return notes;
}

void require_regular_files(const protocol::RunSpec& spec) {
  for (const auto& file : {spec.prompt_file, spec.system_file, spec.plan})
    if (file && reads_once(*file))
      throw input_error(*file, "cannot be read twice, as an engine does", "a regular file", "a pipe or a device");
}

}  // namespace headroom::experiment
