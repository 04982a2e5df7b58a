// SPDX-License-Identifier: Apache-2.0
#include "attention/backend.h"
#include "attention/registry.h"
#include "kernels/cpu/select/supports.h"

namespace headroom::attention {
namespace {

class Random final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock&, const JobContext&) const override {
    const SelectionRule rule = this->rule(layer.query());
    const std::uint64_t stream =
        kernels::cpu::random_stream(static_cast<std::uint64_t>(parameter("seed")), layer.query().layer);
    WrittenKeys keys;
    keys.most = keys.whole_rows = rule.tokens(layer.query().length());
    keys.shared_rows = rule.granularity;
    keys.write = [rule, stream, k = keys.most](std::int64_t, const kernels::cpu::RowSupports& rows) {
      kernels::cpu::random_rows(rows, k, {rule.forced.sinks, rule.forced.local}, rule.granularity, stream);
    };
    return keys;
  }
};

}  // namespace

PolicyEntry entry_random() {
  return {{.name = "random",
           .title = "Random keys",
           .definition = "k keys drawn uniformly from the history, the query's own among them; blocks of rows share theirs.",
           .source = "the floor that any selection must beat",
           .cost = "k draws a block of rows",
           .role = MethodRole::deployable,
           .look = 4,
           .parameters = {sinks_parameter(), local_parameter(), {"seed", 0, 0, 9007199254740992.0, "of the draw", true}}},
          &make_policy_of<Random>};
}

}  // namespace headroom::attention
