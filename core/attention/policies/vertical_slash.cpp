// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "attention/backend.h"
#include "attention/registry.h"
#include "attention/window_votes.h"

namespace headroom::attention {
namespace {

class VerticalSlash final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock& clock, const JobContext& job) const override {
    const SelectionRule rule = this->rule(layer.query());
    const LayerQuery& query = layer.query();
    const std::int64_t k = rule.tokens(query.length()), heads = query.num_q_heads();
    if (rule.keeps_all(query.length())) return all_keys(query);
    WindowVotes votes;
    {
      const StageScope scope(clock, Stage::score, query.layer);
      votes = count_votes(layer, static_cast<std::int64_t>(parameter("window")), true, job);
    }
    const StageScope scope(clock, Stage::select, query.layer);
    // At least the diagonal, which is each row's own key.
    const auto columns =
        std::min(std::llround(parameter("vertical") * static_cast<double>(k)), static_cast<long long>(k - 1));
    const auto lines = std::make_shared<std::vector<KeyLines>>();
    for (std::size_t head = 0; head < static_cast<std::size_t>(heads); ++head)
      lines->push_back({best_places(votes.of_key[head], columns, rule.forced.sinks),
                        best_places(votes.of_distance[head], k - columns, rule.forced.local)});
    WrittenKeys keys;
    keys.most = keys.whole_rows = k;
    keys.groups = heads;
    keys.write = WrittenKeys::by_row([lines, k](std::int64_t head, std::int64_t row, std::int32_t* to) {
      if (row >= k) return (*lines)[static_cast<std::size_t>(head)].write(row, to);
      for (std::int64_t key = 0; key <= row; ++key) to[key] = static_cast<std::int32_t>(key);
      return row + 1;
    });
    return keys;
  }
};

}  // namespace

PolicyEntry entry_vertical_slash() {
  return {
      {.name = "vertical_slash",
       .title = "Vertical and slash",
       .definition = "For each query head the keys (verticals) and the distances (slashes) that the prompt's last rows "
                     "attend to most, k lines in all: a row has at most k keys, fewer where lines cross or lie before "
                     "the prompt.",
       .source =
           "MInference (arXiv 2407.02490), section 3, the vertical-slash head; one split of k for all heads in place "
           "of an offline search",
       .cost = "the scores of `window` rows of all heads, and a sort of L columns and diagonals for each head",
       .role = MethodRole::deployable,
       .scope = SupportScope::q_head,
       .score = ScoreKind::other,
       .look = 13,
       .takes_granularity = false,
       .whole_prompt = true,
       .parameters = {sinks_parameter(),
                      local_parameter(),
                      {"window", 64, 1, 4096, "last rows whose attention is looked at", true},
                      {"vertical", 0.5, 0, 1, "share of the lines that are verticals"}}},
      &make_policy_of<VerticalSlash>};
}

}  // namespace headroom::attention
