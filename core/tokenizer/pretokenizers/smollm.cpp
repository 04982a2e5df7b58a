// SPDX-License-Identifier: Apache-2.0
// SmolLM, StarCoder and others: every number character on its own, then GPT-2's pattern between them.
#include "tokenizer/pretokenizer.h"
#include "tokenizer/unicode.h"

namespace headroom::tokenizer {
namespace {

void split(std::span<const char32_t> text, std::vector<std::size_t>& ends) {
  std::size_t begin = 0;
  for (std::size_t at = 0; at <= text.size(); ++at) {
    if (at < text.size() && class_of(text[at]) != CodePointClass::number) continue;
    split_gpt2(text.subspan(begin, at - begin), begin, ends);
    if (at < text.size()) ends.push_back(at + 1);
    begin = at + 1;
  }
}

}  // namespace

PreTokenizer entry_smollm() {
  return {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}, split};
}

}  // namespace headroom::tokenizer
