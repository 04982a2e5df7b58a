// SPDX-License-Identifier: Apache-2.0
// GPT-2 and the vocabularies that split as it does.
#include "tokenizer/pretokenizer.h"

namespace headroom::tokenizer {

PreTokenizer entry_gpt2() {
  return {{"gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum",
           "modern-bert", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4"},
          [](std::span<const char32_t> text, std::vector<std::size_t>& ends) { split_gpt2(text, 0, ends); }};
}

}  // namespace headroom::tokenizer
