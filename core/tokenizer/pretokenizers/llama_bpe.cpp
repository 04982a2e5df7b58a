// SPDX-License-Identifier: Apache-2.0
// Llama 3: digits in threes; a word that is a token is not merged up to; BOS unless the file says otherwise.
#include "tokenizer/pretokenizer.h"

namespace headroom::tokenizer {

PreTokenizer entry_llama_bpe() {
  return {{"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral"},
          [](std::span<const char32_t> text, std::vector<std::size_t>& ends) {
            split_llama3(text, {.max_digits = 3}, ends);
          },
          true,
          true};
}

}  // namespace headroom::tokenizer
