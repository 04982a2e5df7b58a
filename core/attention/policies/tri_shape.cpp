// SPDX-License-Identifier: Apache-2.0
#include "attention/backend.h"
#include "attention/registry.h"
#include "attention/triangle.h"

namespace headroom::attention {
namespace {

class TriShape final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock& clock, const JobContext&) const override {
    const StageScope scope(clock, Stage::select, layer.query().layer);
    return triangle_keys(layer.query().length(), rule(layer.query()), static_cast<std::int64_t>(parameter("last")));
  }
};

}  // namespace

PolicyEntry entry_tri_shape() {
  return {{.name = "tri_shape",
           .title = "Tri-shape",
           .definition =
               "The first keys and the newest ones, and the last rows whole: as many pairs as k keys a row, of which "
               "the last rows take at most half.",
           .source = "Tri-shape of SCBench (arXiv 2412.10319)",
           .cost = "none",
           .role = MethodRole::deployable,
           .look = 9,
           .takes_granularity = false,
           .whole_prompt = true,
           .parameters = {sinks_parameter(4), last_rows_parameter()}},
          &make_policy_of<TriShape>};
}

}  // namespace headroom::attention
