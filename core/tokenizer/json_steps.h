// SPDX-License-Identifier: Apache-2.0
// The steps of a tokenizer.json: normalizer, pre_tokenizer, post_processor, decoder. Each fills in its part of the
// data; a kind, or a setting of one, that is not known throws an input error naming its path.
#pragma once

#include "tokenizer/json_node.h"
#include "tokenizer/tokenizer_data.h"

namespace headroom::tokenizer {

void read_normalizer(const JsonNode& node, TokenizerData& data);
void read_pre_tokenizer(const JsonNode& node, TokenizerData& data);
/// `data.tokens` are there already.
void read_post_processor(const JsonNode& node, TokenizerData& data);
void read_decoder(const JsonNode& node, TokenizerData& data);

}  // namespace headroom::tokenizer
