// SPDX-License-Identifier: Apache-2.0
// Mixture of experts as in Qwen3-MoE, Qwen3-Next and Qwen3.5: softmax over all experts, the best few of them, SwiGLU in
// each, and where there is one a shared expert behind the sigmoid of a gate.
// Weights: "router" [E, width]; "experts_gate_up" [E * 2 w, width], of each expert gate first; "experts_down"
// [E * width, w]; with a shared expert "shared_gate_up" [2 s, width], "shared_down" [width, s], "shared_gate" [1,
// width].
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/topk.h>

#include "model/expert_groups.h"
#include "model/mlp.h"
#include "model/row_kernels.h"

namespace headroom::model {
namespace {

class ExpertMlp final : public Mlp {
 public:
  ExpertMlp(const MlpSpec& spec, std::int64_t width, TensorSet& weights)
      : spec_(spec),
        router_(weights.take("router", {spec.experts, width}).to(at::kFloat)),
        gate_up_(weights.take("experts_gate_up", {spec.experts * 2 * spec.width, width})
                     .view({spec.experts, 2 * spec.width, width})),
        down_(
            weights.take("experts_down", {spec.experts * width, spec.width}).view({spec.experts, width, spec.width})) {
    const bool shared = spec.shared_width > 0;
    shared_gate_up_ = weights.take_if(shared, "shared_gate_up", {2 * spec.shared_width, width});
    shared_down_ = weights.take_if(shared, "shared_down", {width, spec.shared_width});
    shared_gate_ = weights.take_if(shared, "shared_gate", {1, width});
  }

  void forward(Workspace&, std::int64_t, const at::Tensor& normed, at::Tensor out) const override {
    // In fp32: a choice that rounding turns over costs more than all else that rounds.
    const at::Tensor likely = at::softmax(at::mm(normed.to(at::kFloat), router_.t()), 1);
    auto [weights, chosen] = at::topk(likely, spec_.experts_used, 1);
    if (spec_.normalised) weights = weights.div(weights.sum(1, true));
    const ExpertGroups groups(chosen, weights, spec_.experts);
    groups.combine(groups.product(gated(groups.product(groups.gather(normed), gate_up_)), down_), out);
    if (spec_.shared_width == 0) return;
    const at::Tensor shared = at::mm(gated(at::mm(normed, shared_gate_up_.t())), shared_down_.t());
    out.add_(shared.mul_(at::sigmoid(at::mm(normed, shared_gate_.t()))));
  }

 private:
  static at::Tensor gated(const at::Tensor& gate_up) {
    const at::Tensor gated = at::empty({gate_up.size(0), gate_up.size(1) / 2}, gate_up.options());
    silu_mul(gate_up, gated);
    return gated;
  }

  MlpSpec spec_;
  at::Tensor router_, gate_up_, down_, shared_gate_up_, shared_down_, shared_gate_;
};

std::unique_ptr<Mlp> make_experts(const ModelConfig& config, std::int64_t layer, TensorSet& weights) {
  return std::make_unique<ExpertMlp>(config.layer(layer).mlp, config.width, weights);
}

}  // namespace

MlpType entry_experts() {
  return {{MlpKind::experts}, &make_experts};
}

}  // namespace headroom::model
