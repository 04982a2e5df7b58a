// SPDX-License-Identifier: Apache-2.0
#include "attention/backend.h"
#include "attention/registry.h"
#include "attention/triangle.h"

namespace headroom::attention {
namespace {

class TriangleMix final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer& layer, StageClock& clock, const JobContext&) const override {
    const LayerQuery& query = layer.query();
    if (query.layer < parameter("dense") * query.num_layers) return WholeHistory{};
    const StageScope scope(clock, Stage::select, query.layer);
    return triangle_keys(query.length(), rule(layer.query()), static_cast<std::int64_t>(parameter("last")));
  }
};

}  // namespace

PolicyEntry entry_triangle_mix() {
  return {{.name = "triangle_mix",
           .title = "Triangle mix",
           .definition =
               "Dense in the first layers, tri-shape in the others: the budget holds in the latter, the density is "
               "that of all.",
           .source = "TriangleMix (arXiv 2507.21526), section 3; a share of the layers in place of a gradient probe",
           .cost = "none",
           .role = MethodRole::deployable,
           .look = 10,
           .takes_granularity = false,
           .whole_prompt = true,
           .parameters = {sinks_parameter(4),
                          last_rows_parameter(),
                          {"dense", 0.5, 0, 1, "share of the model's layers, from the first on, that stay dense"}}},
          &make_policy_of<TriangleMix>};
}

}  // namespace headroom::attention
