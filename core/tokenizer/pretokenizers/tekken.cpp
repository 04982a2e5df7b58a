// SPDX-License-Identifier: Apache-2.0
// Mistral's Tekken: as GPT-4o without contractions, every digit on its own; a word that is a token is not merged up to.
#include "tokenizer/pretokenizer.h"

namespace headroom::tokenizer {

PreTokenizer entry_tekken() {
  return {{"tekken"},
          [](std::span<const char32_t> text, std::vector<std::size_t>& ends) {
            split_cased(text, {.max_digits = 1, .contractions = false, .ascii_case = true}, ends);
          },
          true,
          true};
}

}  // namespace headroom::tokenizer
