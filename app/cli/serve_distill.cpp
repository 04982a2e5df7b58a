// SPDX-License-Identifier: Apache-2.0
#include "serve_distill.h"

#include "base/named_model.h"
#include "experiment/distil/distill.h"
#include "protocol/json_fields.h"
#include "protocol/messages.h"
#include "serve_run.h"

namespace headroom::cli {

JobKind make_distill_kind(const model::DeviceChoice& device) {
  JobKind kind;
  kind.start_method = protocol::method::distill_start;
  kind.plan = [&device](const nlohmann::json& params) {
    protocol::Fields fields(params, protocol::method::distill_start);
    auto spec = experiment::distill_spec_from_json(fields.object("spec"));
    fields.refuse_unknown();
    find_named_model(spec.model, spec.adapter);  // a model that has not been fetched is answered at once
    const auto note = device_note(spec.device, device);
    spec.device = device_of(spec.device, device);
    JobPlan plan;
    plan.answer["device"] =
        model::open_one_device(spec.device, "distill").description;  // one that is missing is answered at once
    plan.work = [spec, note](JobReporter& reporter, const JobContext& job) {
      reporter.notice(note);
      experiment::DistillCallbacks callbacks;
      callbacks.notice = [&](const std::string& text) { reporter.notice(text); };
      std::string saved = spec.out;
      callbacks.saved = [&](const std::filesystem::path& file) { saved = file.string(); };
      const auto figures = experiment::distill(spec, job, callbacks);
      return nlohmann::json{{"indexer", saved}, {"held_out", to_json(figures)}};
    };
    return plan;
  };
  return kind;
}

}  // namespace headroom::cli
