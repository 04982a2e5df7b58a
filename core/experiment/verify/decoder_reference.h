// SPDX-License-Identifier: Apache-2.0
// A Llama decoder in fp64, as plain loops over the definitions: the root of trust for the decoder. Beside it the same
// decoder of LibTorch's operators, whose error says what a precision costs. For small models.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/model_config.h"

namespace headroom::experiment {

/// Logits of every position, [ids, vocabulary]. The checkpoint names its tensors as GGUF does, with q and k rows in
/// GGUF's order and the output tied to the embedding. Nothing is rounded, whatever a decoder would load.
std::vector<double> reference_logits(const checkpoint::Checkpoint& file, const model::ModelConfig& config,
                                     std::span<const std::int32_t> ids);

/// [ids, vocabulary] fp32 of the same model with weights and activations in `dtype` on `device`: one operator after the
/// other, norms and rotations in fp32.
at::Tensor textbook_logits(const checkpoint::Checkpoint& file, const model::ModelConfig& config,
                           std::span<const std::int32_t> ids, c10::ScalarType dtype, c10::Device device);

}  // namespace headroom::experiment
