// SPDX-License-Identifier: Apache-2.0
#include "serve_run.h"

#include "experiment/preflight.h"
#include "experiment/run.h"
#include "protocol/summary_json.h"

namespace headroom::cli {

std::shared_ptr<experiment::Session> SessionCache::get(const std::string& model) {
  if (!last_ || last_->model() != model || !last_->is_current()) {
    last_.reset();  // before the next one is opened: never two models at once
    last_ = std::make_shared<experiment::Session>(model);
  }
  return last_;
}

protocol::Preflight run_preflight(const protocol::RunSpec& spec, SessionCache& inspecting) {
  return experiment::preflight(
      experiment::prepare_run(spec, [&](const std::string& model) { return inspecting.get(model); }));
}

JobKind make_run_kind(SessionCache& inspecting, TileServer& tiles) {
  // The jobs' thread has sessions of its own: a session serves one thread at a time.
  const auto sessions = std::make_shared<SessionCache>();
  JobKind kind;
  kind.start_method = protocol::method::run_start;
  kind.plan = [&inspecting, &tiles, sessions](const nlohmann::json& params) {
    const auto spec = protocol::run_start_params_from_json(params).spec;
    const auto preflight = run_preflight(spec, inspecting);
    experiment::refuse_what_cannot_fit(preflight);
    JobPlan plan;
    plan.answer = {{"preflight", protocol::to_json(preflight)}};
    plan.work = [spec, sessions, &tiles](JobReporter& reporter, const JobContext& job) {
      const auto prepared =
          experiment::prepare_run(spec, [&](const std::string& model) { return sessions->get(model); });
      experiment::RunCallbacks callbacks;
      const auto number = reporter.job();
      callbacks.prepared = [&](const record::RunMeta& meta, std::int64_t tokens) {
        reporter.notify(protocol::method::job_prepared, protocol::to_json(protocol::JobPrepared{number, meta, tokens}));
      };
      callbacks.method_finished = [&](const record::MethodSummary& method) {
        reporter.notify(protocol::method::job_partial, protocol::to_json(protocol::JobPartial{number, method}));
      };
      callbacks.record_written = [&](const record::RunMeta&, const std::string& path) { reporter.set_record(path); };
      callbacks.store_opened = [&](const record::RunMeta& meta, std::shared_ptr<const experiment::StreamStore> store) {
        tiles.set_run(meta.run_id, std::move(store));
      };
      const auto outcome = experiment::run(prepared, job, callbacks);
      return protocol::run_result_json(outcome.meta, outcome.tokens, outcome.methods, outcome.record_path);
    };
    return plan;
  };
  return kind;
}

}  // namespace headroom::cli
