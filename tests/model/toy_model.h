// SPDX-License-Identifier: Apache-2.0
// A toy family for tests of the decoder's parts: any mix of layers and options, random weights, a recurrence defined
// here as the stand-in for linear layers, and the same model written out in fp64.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "model/decoder.h"
#include "model/parts.h"
#include "model/random_checkpoint.h"

namespace headroom::test {

/// A layer of 4 query heads, 2 KV heads of 8 and an MLP 24 wide; fully rotated.
model::LayerSpec toy_layer(model::LayerKind kind, std::int64_t window = 0);
/// Width 32, 61 tokens, context 2000, tied output.
model::ModelConfig toy_config(std::vector<model::LayerSpec> layers);

/// Tensors "embedding", "output_norm", "0.qkv", "0.down", …: named by layer and role. `plus_one`: norms are stored
/// less 1.
model::Family toy_family(bool plus_one = false);

/// The full and sliding mixers of the library and, for linear layers, s_t = s_(t-1) / 2 + in(x_t), output out(s_t):
/// weights "decay_in" and "decay_out" [width, width].
model::Parts toy_parts(bool plus_one = false);

/// Random weights; vectors too are not constant.
class ToyCheckpoint final : public model::RandomCheckpoint {
 public:
  explicit ToyCheckpoint(const model::ModelConfig& config, bool plus_one = false);
  void read_part(std::string_view name, std::int64_t first, std::span<float> out) const override;
  /// In fp64, norms as the model computes with them.
  at::Tensor tensor(const std::string& name) const;

 private:
  bool plus_one_;
};

/// Hidden states after the last layer, [ids, width] fp64: the layers' definitions in a few lines each.
at::Tensor toy_reference(const ToyCheckpoint& file, const model::ModelConfig& config,
                         const std::vector<std::int32_t>& ids);

}  // namespace headroom::test
