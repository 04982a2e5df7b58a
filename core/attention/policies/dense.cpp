// SPDX-License-Identifier: Apache-2.0
#include "attention/backend.h"
#include "attention/registry.h"

namespace headroom::attention {
namespace {

class Dense final : public Policy {
 public:
  using Policy::Policy;
  Selection select(const PreparedLayer&, StageClock&, const JobContext&) const override { return WholeHistory{}; }
};

}  // namespace

PolicyEntry entry_dense() {
  return {{.name = "dense",
           .title = "Dense",
           .definition = "The unmodified model: every query attends to its whole history.",
           .source = "the model",
           .cost = "none",
           .role = MethodRole::dense,
           .look = 0,
           .is_default = true},
          &make_policy_of<Dense>};
}

}  // namespace headroom::attention
