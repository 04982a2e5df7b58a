// SPDX-License-Identifier: Apache-2.0
#include "attention/backend.h"
#include "attention/registry.h"
#include "base/error.h"

namespace headroom::attention {
namespace {

/// Mass of another stream in the same layer.
class StreamMass final : public RowScores {
 public:
  StreamMass(const PreparedLayer& layer, const StreamLayer& stream, std::int64_t first_row, const JobContext& job)
      : query_(layer.query()) {
    // The stream may go on behind these rows: in a dense run they do not depend on what follows.
    query_.q = stream.q.narrow(1, 0, query_.length()).to(query_.q.device());
    query_.k = stream.k.narrow(1, 0, layer.query().length()).to(query_.k.device());
    check_query(query_);
    layer_ = layer.prepare(query_, job);
    mass_ = layer_->mass(SupportScope::layer, first_row, job);
  }
  at::Tensor scores(std::int64_t begin, std::int64_t end) const override { return mass_->scores(begin, end); }

 private:
  LayerQuery query_;  ///< the layer's own but for q and k
  std::unique_ptr<PreparedLayer> layer_;
  std::shared_ptr<const RowScores> mass_;
};

class StaticOracle final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock& clock, const JobContext& job) const override {
    const SelectionRule rule = this->rule(layer.query());
    const LayerQuery& query = layer.query();
    const std::int64_t first = layer.rows_within_budget(rule);
    if (rule.keeps_all(query.length())) return all_keys(query);
    const StreamLayer* stream = settings().dense_stream->find_layer(query.layer);
    if (!stream || stream->q.size(1) < query.length() || stream->k.size(1) < query.length())
      throw Error(ErrorKind::internal, "there is no dense run of this prompt for layer " + std::to_string(query.layer));
    const StageScope scope(clock, Stage::score, query.layer);
    return RankedKeys{std::make_shared<StreamMass>(layer, *stream, first, job), rule};
  }
};

}  // namespace

PolicyEntry entry_static_oracle() {
  return {{.name = "static_oracle",
           .title = "Static oracle",
           .definition =
               "The k keys of most attention mass, averaged over the layer's heads, from the q and k of a dense run "
               "over the same prompt: what the unmodified model would have kept.",
           .source = "METHOD.md, \"Words\" (oracle, static)",
           .cost = "as the oracle's; the dense run before it is not in its time",
           .role = MethodRole::reference,
           .score = ScoreKind::mass,
           .look = 8,
           .takes_mass_budget = true,
           .shares_scores = true,
           .needs_dense_stream = true,
           .parameters = {sinks_parameter(), local_parameter()}},
          &make_policy_of<StaticOracle>};
}

}  // namespace headroom::attention
