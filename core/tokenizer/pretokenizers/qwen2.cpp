// SPDX-License-Identifier: Apache-2.0
// Qwen 2, 2.5 and 3: Llama 3's pattern with every digit on its own. The text is not normalised first.
#include "tokenizer/pretokenizer.h"

namespace headroom::tokenizer {

PreTokenizer entry_qwen2() {
  return {{"qwen2", "deepseek-r1-qwen", "stablelm2"},
          [](std::span<const char32_t> text, std::vector<std::size_t>& ends) {
            split_llama3(text, {.max_digits = 1}, ends);
          }};
}

}  // namespace headroom::tokenizer
