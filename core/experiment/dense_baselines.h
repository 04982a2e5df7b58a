// SPDX-License-Identifier: Apache-2.0
// What sparse attention is held against: our own dense kernel, dense attention through the backends of LibTorch, each
// forced by name, and the floor that no prefill built on LibTorch's products can go below.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "attention/policy.h"
#include "checkpoint/model_config.h"

namespace headroom::experiment {

struct DenseBaseline {
  std::string backend;  ///< "libtorch", "headroom", "fa2", "cudnn"
  std::shared_ptr<const attention::Policy> policy;
};
/// Those that can run: "libtorch" everywhere, first; "headroom", our kernel, on the CPU;
/// "fa2" and "cudnn" on a GPU in bf16.
std::vector<DenseBaseline> dense_baselines(c10::Device device, c10::ScalarType dtype);

/// LibTorch's own products and attention of a model's shapes, whole prompts at a time, nothing between them.
class Floor {
 public:
  /// Allocates inputs of one layer and the output matrix.
  Floor(const checkpoint::ModelConfig& config, std::int64_t length, c10::Device device, c10::ScalarType dtype);
  /// Milliseconds of all layers and the last position's output product: each product and the attention is timed once
  /// and multiplied by the number of layers. On the CPU one call of LibTorch's attention, on a GPU the faster of
  /// FlashAttention-2 and cuDNN.
  double measure() const;

 private:
  checkpoint::ModelConfig config_;
  c10::Device device_;
  std::vector<std::pair<at::Tensor, at::Tensor>> products_;  ///< input, weight [out, in]
  at::Tensor output_input_, output_;
  attention::LayerQuery query_;
  std::vector<std::shared_ptr<const attention::Policy>> attentions_;
};

}  // namespace headroom::experiment
