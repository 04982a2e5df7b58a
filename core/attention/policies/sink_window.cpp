// SPDX-License-Identifier: Apache-2.0
#include "attention/backend.h"
#include "attention/registry.h"
#include "kernels/cpu/select/supports.h"

namespace headroom::attention {
namespace {

class SinkWindow final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock&, const JobContext&) const override {
    const SelectionRule rule = this->rule(layer.query());
    WrittenKeys keys;
    keys.most = keys.whole_rows = rule.tokens(layer.query().length());
    keys.window = rule.forced;
    keys.write = WrittenKeys::by_row([rule, k = keys.most](std::int64_t, std::int64_t row, std::int32_t* to) {
      return kernels::cpu::sink_window_row(row, k, {rule.forced.sinks, rule.forced.local}, to);
    });
    return keys;
  }
};

}  // namespace

PolicyEntry entry_sink_window() {
  return {{.name = "sink_window",
           .title = "Sinks and window",
           .definition = "The first keys and the newest ones, k in all.",
           .source = "StreamingLLM (arXiv 2309.17453), in prefill",
           .cost = "none",
           .role = MethodRole::deployable,
           .look = 3,
           .takes_granularity = false,
           .parameters = {sinks_parameter(4)}},
          &make_policy_of<SinkWindow>};
}

}  // namespace headroom::attention
