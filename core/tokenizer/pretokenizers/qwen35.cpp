// SPDX-License-Identifier: Apache-2.0
// Qwen 3.5: as Qwen 2, with marks as letters. The text is not normalised first.
#include "tokenizer/pretokenizer.h"

namespace headroom::tokenizer {

PreTokenizer entry_qwen35() {
  return {{"qwen35"}, [](std::span<const char32_t> text, std::vector<std::size_t>& ends) {
            split_llama3(text, {.max_digits = 1, .marks_are_letters = true}, ends);
          }};
}

}  // namespace headroom::tokenizer
