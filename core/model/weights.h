// SPDX-License-Identifier: Apache-2.0
// A decoder's weights on its device, materialised from a checkpoint by an architecture's plan.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "base/progress.h"
#include "checkpoint/checkpoint.h"
#include "model/architecture.h"

namespace headroom::model {

/// Matrices are [out, in] in the model's dtype; norms [width], fp32 on the CPU, the model's dtype elsewhere.
struct LayerWeights {
  at::Tensor attention_norm, qkv, attention_output, mlp_norm, gate_up, down;
};

struct ModelWeights {
  at::Tensor embedding;  ///< [vocabulary, width]
  at::Tensor output;     ///< the same tensor where tied
  at::Tensor output_norm;
  std::vector<LayerWeights> layers;
  std::vector<float> rope_divisors;
  std::int64_t bytes = 0;  ///< on the device, shared tensors once
};

/// Dequantises with all threads, straight into `dtype` (bf16 or fp32). Checks every name and shape before it reads
/// anything; input errors name tensor, expected and found shape. Values that bf16 cannot hold are refused too.
ModelWeights load_weights(const checkpoint::Checkpoint& file, const checkpoint::ModelConfig& config,
                          const ModelPlan& plan, c10::Device device, c10::ScalarType dtype, const JobContext& job);

}  // namespace headroom::model
