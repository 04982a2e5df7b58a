// SPDX-License-Identifier: Apache-2.0
#include "attention/backend.h"
#include "attention/registry.h"

namespace headroom::attention {
namespace {

/// Mass budgets and blocks of rows add up softmax(I): a row's I is only defined up to a constant, and its softmax is what
/// was trained to be the mass.
class IndexTopK final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock& clock, const JobContext& job) const override {
    const SelectionRule rule = this->rule(layer.query());
    const std::int64_t first = layer.rows_within_budget(rule);
    if (first == layer.query().length()) return all_keys(layer.query());
    const StageScope scope(clock, Stage::score, layer.query().layer);
    const IndexForm form = rule.adds_scores() ? IndexForm::probabilities : IndexForm::raw;
    return RankedKeys{layer.index(*settings().index, form, first, job), rule};
  }
};

}  // namespace

PolicyEntry entry_indexer() {
  return {{.name = "indexer",
           .title = "Indexer",
           .definition = "The k keys of the largest learned score q_I.k_I, one head for the whole layer.",
           .source = "arXiv 2606.07703, the head-collapsed indexer; METHOD.md, \"Indexer\"",
           .cost = "two projections of L x width x d_I, L^2 d_I / 2 products for the scores, top-k of each row",
           .role = MethodRole::deployable,
           .score = ScoreKind::index,
           .look = 2,
           .takes_mass_budget = true,
           .shares_scores = true,
           .needs_index = true,
           .is_default = true,
           .parameters = {sinks_parameter(), local_parameter()}},
          &make_policy_of<IndexTopK>};
}

}  // namespace headroom::attention
