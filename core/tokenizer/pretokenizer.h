// SPDX-License-Identifier: Apache-2.0
// Pre-tokenizers cut a text into words before byte-level BPE merges inside each. A new one is a new file in
// pretokenizers/ that defines `PreTokenizer entry_<file>()`; the build collects them. They are scanners by hand: the
// published patterns are regular expressions, but std::regex overflows the stack on long runs.
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

/// The pattern of Llama 3 and Qwen: contractions in any case, [^\r\n\p{L}\p{N}]?\p{L}+ (marks count as letters where
/// asked for), \p{N}{1,max_digits}, " ?[^\s\p{L}\p{N}]+[\r\n]*", \s*[\r\n]+, \s+(?!\S), \s+
void split_llama3(std::span<const char32_t> text, std::size_t max_digits, bool marks_are_letters,
                  std::vector<std::size_t>& ends);

}  // namespace headroom::tokenizer
