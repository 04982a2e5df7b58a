// SPDX-License-Identifier: Apache-2.0
// The steps that change a text before it is cut into words.
#pragma once

#include <span>

#include "tokenizer/mapped_text.h"
#include "tokenizer/tokenizer_data.h"

namespace headroom::tokenizer {

void normalize(std::span<const NormalizerStep> steps, MappedText& text);

}  // namespace headroom::tokenizer
