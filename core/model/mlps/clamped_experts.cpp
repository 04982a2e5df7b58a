// SPDX-License-Identifier: Apache-2.0
// Mixture of experts as in gpt-oss: softmax over the logits of the chosen experts alone, biases everywhere, and in each
// expert (min(up, limit) + 1) * gate * sigmoid(alpha gate), gate and up bounded first.
// Weights: "router" [E, width], "router_bias" [E]; "experts_gate_up" [E * 2 w, width], of each expert gate first, with
// "experts_gate_up_bias" [E * 2 w]; "experts_down" [E * width, w] with "experts_down_bias" [E * width].
#include <ATen/ops/addmm.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/topk.h>

#include "model/expert_groups.h"
#include "model/mlp.h"

namespace headroom::model {
namespace {

class ClampedExpertMlp final : public Mlp {
 public:
  ClampedExpertMlp(const MlpSpec& spec, std::int64_t width, TensorSet& weights)
      : spec_(spec),
        router_(weights.take("router", {spec.experts, width}).to(at::kFloat)),
        gate_up_(weights.take("experts_gate_up", {spec.experts * 2 * spec.width, width})
                     .view({spec.experts, 2 * spec.width, width})),
        down_(
            weights.take("experts_down", {spec.experts * width, spec.width}).view({spec.experts, width, spec.width})) {
    const auto bias = [&](const char* role, std::int64_t each) {
      return weights.take(role, {spec.experts * each}).to(gate_up_.scalar_type()).view({spec.experts, each});
    };
    router_bias_ = weights.take("router_bias", {spec.experts}).to(at::kFloat);
    gate_up_bias_ = bias("experts_gate_up_bias", 2 * spec.width);
    down_bias_ = bias("experts_down_bias", width);
  }

  void forward(Workspace&, std::int64_t, const at::Tensor& normed, at::Tensor out) const override {
    // In fp32: a choice that rounding turns over costs more than all else that rounds.
    const at::Tensor logits = at::addmm(router_bias_, normed.to(at::kFloat), router_.t());
    const auto [best, chosen] = at::topk(logits, spec_.experts_used, 1);
    const ExpertGroups groups(chosen, at::softmax(best, 1), spec_.experts);
    const at::Tensor gate_up =
        groups.product(groups.gather(normed), gate_up_).add_(groups.of_experts(gate_up_bias_)).to(at::kFloat);
    const at::Tensor gate = gate_up.narrow(1, 0, spec_.width).clamp_max(spec_.limit);
    const at::Tensor up = gate_up.narrow(1, spec_.width, spec_.width).clamp(-spec_.limit, spec_.limit);
    const at::Tensor gated = gate.mul(at::sigmoid(gate.mul(spec_.alpha))).mul_(up.add_(1)).to(normed.scalar_type());
    groups.combine(groups.product(gated, down_).add_(groups.of_experts(down_bias_)), out);
  }

 private:
  MlpSpec spec_;
  at::Tensor router_, router_bias_, gate_up_, gate_up_bias_, down_, down_bias_;
};

std::unique_ptr<Mlp> make_clamped_experts(const ModelConfig& config, std::int64_t layer, TensorSet& weights) {
  return std::make_unique<ClampedExpertMlp>(config.layer(layer).mlp, config.width, weights);
}

}  // namespace

MlpType entry_clamped_experts() {
  return {{MlpKind::clamped_experts}, &make_clamped_experts};
}

}  // namespace headroom::model
