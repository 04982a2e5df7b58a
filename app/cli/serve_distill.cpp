// SPDX-License-Identifier: Apache-2.0
#include "serve_distill.h"

#include "base/paths.h"
#include "experiment/distill.h"
#include "protocol/json_fields.h"
#include "protocol/messages.h"

namespace headroom::cli {

JobKind make_distill_kind() {
  JobKind kind;
  kind.start_method = protocol::method::distill_start;
  kind.plan = [](const nlohmann::json& params) {
    protocol::Fields fields(params, protocol::method::distill_start);
    const auto spec = experiment::distill_spec_from_json(fields.object("spec"));
    fields.refuse_unknown();
    resolve_model(spec.model);  // a model that has not been fetched is answered at once
    JobPlan plan;
    plan.work = [spec](JobReporter&, const JobContext& job) {
      const auto figures = experiment::distill(spec, job);
      return nlohmann::json{{"indexer", spec.out}, {"held_out", to_json(figures)}};
    };
    return plan;
  };
  return kind;
}

}  // namespace headroom::cli
