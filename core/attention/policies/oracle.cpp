// SPDX-License-Identifier: Apache-2.0
#include "attention/backend.h"
#include "attention/registry.h"

namespace headroom::attention {
namespace {

class Oracle final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock& clock, const JobContext& job) const override {
    const SelectionRule rule = this->rule(layer.query());
    const StageScope scope(clock, Stage::score, layer.query().layer);
    return RankedKeys{layer.mass(SupportScope::layer, layer.rows_within_budget(rule), job), rule};
  }
};

}  // namespace

PolicyEntry entry_oracle() {
  return {{.name = "oracle",
           .title = "Oracle",
           .definition = "The k keys of most attention mass, averaged over the layer's heads, from the stream's own q and k.",
           .source = "arXiv 2606.07703, the attention-mass top-k oracle; METHOD.md, \"Words\"",
           .cost = "the scores of all heads twice (log-sum-exp, then mass): more than dense attention; top-k of each row",
           .role = MethodRole::reference,
           .score = ScoreKind::mass,
           .look = 1,
           .takes_mass_budget = true,
           .shares_scores = true,
           .is_default = true,
           .parameters = {sinks_parameter(), local_parameter()}},
          &make_policy_of<Oracle>};
}

}  // namespace headroom::attention
