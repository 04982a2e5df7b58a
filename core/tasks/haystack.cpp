// SPDX-License-Identifier: Apache-2.0
#include "tasks/haystack.h"

#include "base/error.h"
#include "base/input_file.h"
#include "base/sha256.h"
#include "base/utf8.h"
#include "tasks/text_input.h"

namespace headroom::tasks {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t max_haystack_bytes = 64u << 20, max_haystack_files = 100'000;
constexpr std::size_t max_sentence_bytes = 240;
constexpr const char* haystack_expected = "a text file or a folder of them";
constexpr const char* haystack_too_large = "is too large for a haystack";

bool is_blank(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

/// Cuts one text; what is collected so far is a sentence at the end of a file, too.
class Cutter {
 public:
  explicit Cutter(std::vector<std::string>& sentences) : sentences_(sentences) {}

  void cut(std::string_view text) {
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
    for (std::size_t i = 0; i < text.size();) {
      std::size_t breaks = 0;
      for (; i < text.size() && is_blank(text[i]); ++i) breaks += text[i] == '\n';
      if (breaks > 1) end();
      const std::size_t begin = i;
      while (i < text.size() && !is_blank(text[i])) ++i;
      add(text.substr(begin, i - begin));
    }
    end();
  }

 private:
  void add(std::string_view word) {
    if (word.empty()) return;
    if (!sentence_.empty() && sentence_.size() + 1 + word.size() > max_sentence_bytes) end();
    while (word.size() > max_sentence_bytes) {  // of a text without spaces
      std::size_t cut = max_sentence_bytes;
      while (cut > 0 && (static_cast<unsigned char>(word[cut]) & 0xc0) == 0x80) --cut;
      sentences_.emplace_back(word.substr(0, cut));
      word.remove_prefix(cut);
    }
    if (!sentence_.empty()) sentence_ += ' ';
    sentence_ += word;
    const auto last = sentence_.find_last_not_of("\"')]");
    const bool ends =
        last != std::string::npos && std::string_view(".!?").find(sentence_[last]) != std::string_view::npos;
    if (ends) end();
  }
  void end() {
    if (!sentence_.empty()) sentences_.push_back(std::move(sentence_));
    sentence_.clear();
  }

  std::vector<std::string>& sentences_;
  std::string sentence_;
};

}  // namespace

Haystack read_haystack(const fs::path& path, const JobContext& job) {
  Haystack haystack;
  haystack.source = path.string();
  std::error_code failed;
  const bool folder = fs::is_directory(path, failed);
  std::size_t bytes = 0;
  Cutter cutter(haystack.sentences);
  for (const fs::path& file : files_of(path, haystack_expected, max_haystack_files)) {
    job.check();
    const std::string text = read_input_file(file, {haystack_expected, haystack_too_large, max_haystack_bytes}, job);
    if (folder && (text.find('\0') != std::string::npos || first_invalid_utf8(text))) {
      ++haystack.passed_over;
      continue;
    }
    if (!folder) check_is_text(text, file.string());
    bytes += text.size();
    if (bytes > max_haystack_bytes)
      throw input_error(path.string(), haystack_too_large, std::to_string(max_haystack_bytes) + " bytes at most",
                        "more");
    ++haystack.files;
    cutter.cut(text);
  }
  if (haystack.sentences.empty())
    throw input_error(path.string(), "has no text for a haystack", "UTF-8 text",
                      haystack.passed_over > 0 ? std::to_string(haystack.passed_over) + " files that are no text"
                                               : "nothing but white space");
  Sha256 digest;
  for (std::string line : haystack.sentences) {
    line += '\n';
    digest.add({reinterpret_cast<const std::uint8_t*>(line.data()), line.size()});
  }
  haystack.fingerprint = digest.hex();
  return haystack;
}

}  // namespace headroom::tasks
