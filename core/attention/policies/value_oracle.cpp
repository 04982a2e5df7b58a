// SPDX-License-Identifier: Apache-2.0
#include <ATen/core/Tensor.h>

#include "attention/backend.h"
#include "attention/registry.h"

namespace headroom::attention {
namespace {

/// Probability times the length of the value, averaged over heads. The heads of one KV head have the same value, so
/// that their mass is weighted at once.
class ValueMass final : public RowScores {
 public:
  ValueMass(std::shared_ptr<const RowScores> mass, const at::Tensor& v)
      : mass_(std::move(mass)), norms_(v.to(at::kFloat).norm(2, 2).unsqueeze(1)) {}
  at::Tensor scores(std::int64_t begin, std::int64_t end) const override {
    return mass_->scores(begin, end).mul(norms_.narrow(2, 0, end)).mean(0, true);
  }

 private:
  std::shared_ptr<const RowScores> mass_;  ///< of KV heads
  at::Tensor norms_;                       ///< [Hkv, 1, L]
};

class ValueOracle final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock& clock, const JobContext& job) const override {
    const SelectionRule rule = this->rule(layer.query());
    const std::int64_t first = layer.rows_within_budget(rule);
    if (rule.keeps_all(layer.query().length())) return all_keys(layer.query());
    const StageScope scope(clock, Stage::score, layer.query().layer);
    return RankedKeys{std::make_shared<ValueMass>(layer.mass(SupportScope::kv_head, first, job), layer.query().v),
                      rule};
  }
};

}  // namespace

PolicyEntry entry_value_oracle() {
  return {
      {.name = "value_oracle",
       .title = "Value-weighted oracle",
       .definition = "The k keys of the largest sum over heads of probability times the length of the value, m * |v|: "
                     "what a key can change, not only how much it is looked at.",
       .source = "METHOD.md, \"The three gaps\"; the weight as in VATP (arXiv 2406.12335)",
       .cost = "the scores of all heads, and a top-k of each row",
       .role = MethodRole::reference,
       .score = ScoreKind::other,
       .look = 7,
       .shares_scores = true,
       .needs_values = true,
       .parameters = {sinks_parameter(), local_parameter()}},
      &make_policy_of<ValueOracle>};
}

}  // namespace headroom::attention
