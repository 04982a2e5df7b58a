// SPDX-License-Identifier: Apache-2.0
// The floor that no prefill built on LibTorch's products can go below.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "attention/backend.h"
#include "model/model_config.h"

namespace headroom::experiment {

/// LibTorch's own products and attention of a model's shapes, whole prompts at a time, nothing between them.
class Floor {
 public:
  /// Allocates inputs of one layer, the first full one, and the output matrix.
  Floor(const model::ModelConfig& config, std::int64_t length, c10::Device device, c10::ScalarType dtype);
  /// Milliseconds of all layers and the last position's output product: each product and the attention is timed once
  /// and multiplied by the number of layers, of full layers for attention. On the CPU one call of LibTorch's attention,
  /// on a GPU the faster of FlashAttention-2 and cuDNN.
  double measure() const;
  /// Rows that products are timed with: on a GPU, whose products of so many rows take twice the time for twice the
  /// rows, 65536 at most, so that their inputs need no more memory than a pass.
  static std::int64_t product_rows(std::int64_t length, c10::Device device);

 private:
  double attention_ms() const;

  model::ModelConfig config_;
  c10::Device device_;
  double share_;  ///< the prompt's rows over those that products are timed with
  std::vector<std::pair<at::Tensor, at::Tensor>> products_;  ///< input, weight [out, in]
  at::Tensor output_input_, output_;
  attention::LayerQuery query_;
  std::vector<std::shared_ptr<const attention::Backend>> backends_;  ///< of the attention; empty: one plain call
};

}  // namespace headroom::experiment
