// SPDX-License-Identifier: Apache-2.0
#include "attention/backend.h"
#include "attention/registry.h"

namespace headroom::attention {
namespace {

class HeadOracle final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock& clock, const JobContext& job) const override {
    const SelectionRule rule = this->rule(layer.query());
    const std::int64_t first = layer.rows_within_budget(rule);
    if (rule.keeps_all(layer.query().length())) return all_keys(layer.query());
    const StageScope scope(clock, Stage::score, layer.query().layer);
    return RankedKeys{layer.mass(SupportScope::q_head, first, job), rule};
  }
};

}  // namespace

PolicyEntry entry_head_oracle() {
  return {
      {.name = "head_oracle",
       .title = "Per-head oracle",
       .definition = "For each query head the k keys of its own largest attention probability: what a shared support "
                     "cannot give.",
       .source = "METHOD.md, \"The three gaps\"",
       .cost = "the scores of all heads, and a top-k of each row of each head",
       .role = MethodRole::reference,
       .scope = SupportScope::q_head,
       .score = ScoreKind::mass,
       .look = 5,
       .takes_mass_budget = true,
       .shares_scores = true,
       .parameters = {sinks_parameter(), local_parameter()}},
      &make_policy_of<HeadOracle>};
}

}  // namespace headroom::attention
