// SPDX-License-Identifier: Apache-2.0
// A Llama decoder in fp64, as plain loops over the definitions: the root of trust for the decoder. For small models.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/model_config.h"

namespace headroom::experiment {

/// Logits of every position, [ids, vocabulary]. The checkpoint names its tensors as GGUF does, with q and k rows in the
/// order of rotation by halves and the output tied to the embedding. `bf16_weights`: matrices are rounded to bf16
/// first.
std::vector<double> reference_logits(const checkpoint::Checkpoint& file, const checkpoint::ModelConfig& config,
                                     std::span<const std::int32_t> ids, bool bf16_weights);

}  // namespace headroom::experiment
