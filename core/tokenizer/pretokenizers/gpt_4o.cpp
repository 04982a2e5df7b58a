// SPDX-License-Identifier: Apache-2.0
// GPT-4o, gpt-oss, Llama 4: words end where their case rises, as far as ASCII goes.
#include "tokenizer/pretokenizer.h"

namespace headroom::tokenizer {

PreTokenizer entry_gpt_4o() {
  return {{"gpt-4o", "llama4"}, [](std::span<const char32_t> text, std::vector<std::size_t>& ends) {
            split_cased(text, {.max_digits = 3, .contractions = true, .ascii_case = true}, ends);
          }};
}

}  // namespace headroom::tokenizer
