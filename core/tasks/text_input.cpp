// SPDX-License-Identifier: Apache-2.0
#include "tasks/text_input.h"

#include <algorithm>

#include "base/error.h"
#include "base/file_kind.h"
#include "base/utf8.h"

namespace headroom::tasks {
namespace fs = std::filesystem;
namespace {

std::string shown_name(const std::string& file) {
  if (file.starts_with("/dev/") || file.starts_with("/proc/")) return "the text from " + file;  // a name says nothing
  return escape_controls(replace_invalid_utf8(fs::path(file).filename().string()));
}

std::size_t occurrences(std::string_view text, std::string_view wanted) {
  std::size_t count = 0;
  for (auto at = text.find(wanted); at != std::string_view::npos; at = text.find(wanted, at + wanted.size())) ++count;
  return count;
}

}  // namespace

void check_is_text(std::string_view text, const std::string& place) {
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

void check_prompt_text(std::string_view text, const std::string& place) {
  if (text.empty()) throw input_error(place, "is empty", "at least one character", "0 bytes");
  if (text.size() > max_prompt_bytes)
    throw input_error(place, prompt_too_large, std::to_string(max_prompt_bytes) + " bytes at most",
                      std::to_string(text.size()) + " bytes");
  check_is_text(text, place);
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

std::vector<fs::path> files_of(const fs::path& path, const char* what, std::size_t most) {
  std::error_code failed;
  const auto status = fs::status(path, failed);
  if (!fs::exists(status)) throw input_error(path.string(), "is not there", what, "no such file");
  if (!fs::is_directory(status)) return {path};
  std::vector<fs::path> files;
  fs::recursive_directory_iterator entry(path, failed);
  for (; !failed && entry != fs::recursive_directory_iterator(); entry.increment(failed)) {
    if (entry->path().filename().string().starts_with('.')) {
      entry.disable_recursion_pending();
      continue;
    }
    std::error_code unknown;
    if (!entry->is_regular_file(unknown)) continue;
    if (files.size() == most)
      throw input_error(path.string(), "has too many files", std::to_string(most) + " at most", "more");
    files.push_back(entry->path());
  }
  if (failed) throw input_error(path.string(), "cannot be read", what, failed.message());
  std::ranges::sort(files);
  return files;
}

}  // namespace headroom::tasks
