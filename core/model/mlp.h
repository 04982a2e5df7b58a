// SPDX-License-Identifier: Apache-2.0
// The second part of a layer: what works on each token alone. A new MLP is one new file in mlps/ that defines
// `MlpType entry_<file>()`.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "model/model_config.h"
#include "model/weights.h"
#include "model/workspace.h"

namespace headroom::model {

class Mlp {
 public:
  virtual ~Mlp() = default;
  /// `normed`: some rows of the input after its norm; `out` the same rows of what the MLP gives; [rows, width] both.
  /// From several threads at once, each with its own worker's room.
  virtual void forward(Workspace& room, std::int64_t worker, const at::Tensor& normed, at::Tensor out) const = 0;
};

struct MlpType {
  std::vector<MlpKind> kinds;
  /// Takes the MLP's weights out of the layer's.
  std::unique_ptr<Mlp> (*make)(const ModelConfig& config, std::int64_t layer, TensorSet& weights);
};
/// All that are implemented.
std::vector<MlpType> mlp_types();

}  // namespace headroom::model
