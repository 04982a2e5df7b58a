// SPDX-License-Identifier: Apache-2.0
// Pre-tokenizers of GGUF files cut a text into words before byte-level BPE merges inside each. A new one is a new file
// in pretokenizers/ that defines `PreTokenizer entry_<file>()`; the build collects them. They are scanners by hand,
// several times faster than the regular expressions that are published; a tokenizer.json with such an expression uses
// them, too.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace headroom::tokenizer {

/// Appends the end of each word, in code points from the start of `text`; the last one is text.size().
using SplitFunction = void (*)(std::span<const char32_t> text, std::vector<std::size_t>& ends);

struct PreTokenizer {
  std::vector<std::string_view> names;  ///< values of `tokenizer.ggml.pre`
  SplitFunction split = nullptr;
  bool ignore_merges = false;  ///< a word that is in the vocabulary as a whole is that token
  bool add_bos = false;        ///< where the file does not say
};

/// All that are supported.
std::vector<PreTokenizer> pretokenizers();

/// GPT-2's pattern: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
/// Appends to `ends` positions counted from `offset` before text[0].
void split_gpt2(std::span<const char32_t> text, std::size_t offset, std::vector<std::size_t>& ends);

/// The pattern of Llama 3, Qwen and those after them: contractions in any case, [^\r\n\p{L}\p{N}]?\p{L}+,
/// \p{N}{1,max_digits}, " ?[^\s\p{L}\p{N}]+[\r\n]*", \s*[\r\n]+, \s+(?!\S), \s+
struct Llama3Pattern {
  std::size_t max_digits = 1;
  bool marks_are_letters = false;
  bool long_s = false;  ///< U+017F is a contraction's s, as case-insensitive regular expressions have it
};
void split_llama3(std::span<const char32_t> text, const Llama3Pattern& pattern, std::vector<std::size_t>& ends);

/// The pattern of GPT-4o and Mistral's Tekken: words end where their case rises, contractions belong to the word,
/// slashes go with the punctuation before them.
struct CasedPattern {
  std::size_t max_digits = 3;
  bool contractions = true;
  /// As llama.cpp has it, only a-z are no upper case, and only A-Z no lower case, marks are no letters, and U+017F is
  /// no contraction's s; else by the general categories.
  bool ascii_case = false;
};
void split_cased(std::span<const char32_t> text, const CasedPattern& pattern, std::vector<std::size_t>& ends);

/// The scanner that cuts as this regular expression of a tokenizer.json; nullptr where none is known to.
SplitFunction known_pattern(std::string_view pattern);

}  // namespace headroom::tokenizer
