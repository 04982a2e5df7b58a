// SPDX-License-Identifier: Apache-2.0
// The steps that cut a text into the words that the model sees, one after another.
#pragma once

#include <span>
#include <vector>

#include "tokenizer/mapped_text.h"
#include "tokenizer/tokenizer_data.h"

namespace headroom::tokenizer {

/// Cuts `text`, which changes where a step writes characters of its own, into `words`.
void split_words(std::span<const SplitStep> steps, MappedText& text, std::vector<Match>& words);

}  // namespace headroom::tokenizer
