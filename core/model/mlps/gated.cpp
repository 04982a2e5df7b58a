// SPDX-License-Identifier: Apache-2.0
// Gated MLPs: down(activation(gate(x)) * up(x)) with SiLU (SwiGLU, Shazeer 2020) or GELU's tanh approximation (GeGLU).
// Weights: "gate_up" [2 mlp width, width], gate first; "down" [width, mlp width].
#include <ATen/ops/mm.h>

#include "model/mlp.h"
#include "model/row_kernels.h"

namespace headroom::model {
namespace {

class GatedMlp final : public Mlp {
 public:
  GatedMlp(const MlpSpec& spec, std::int64_t width, TensorSet& weights)
      : spec_(spec),
        gate_up_(weights.take("gate_up", {2 * spec.width, width})),
        down_(weights.take("down", {width, spec.width})) {}

  void forward(Workspace& room, std::int64_t worker, const at::Tensor& normed, at::Tensor out) const override {
    at::Tensor gate_up = room.piece("gate_up", worker, normed.size(0), 2 * spec_.width);
    const at::Tensor gated = room.piece("gated", worker, normed.size(0), spec_.width);
    at::mm_out(gate_up, normed, gate_up_.t());
    if (spec_.kind == MlpKind::swiglu)
      silu_mul(gate_up, gated);
    else
      gelu_tanh_mul(gate_up, gated);
    at::mm_out(out, gated, down_.t());
  }

 private:
  MlpSpec spec_;
  at::Tensor gate_up_, down_;
};

std::unique_ptr<Mlp> make_gated(const ModelConfig& config, std::int64_t layer, TensorSet& weights) {
  return std::make_unique<GatedMlp>(config.layer(layer).mlp, config.width, weights);
}

}  // namespace

MlpType entry_gated() {
  return {{MlpKind::swiglu, MlpKind::geglu_tanh}, &make_gated};
}

}  // namespace headroom::model
