// SPDX-License-Identifier: Apache-2.0
#include "serve_run.h"

#include "experiment/run/preflight.h"
#include "experiment/run/prompt_text.h"
#include "experiment/run/run.h"
#include "protocol/summary_json.h"

namespace headroom::cli {

std::shared_ptr<experiment::Session> SessionCache::get(const std::string& model,
                                                       const std::optional<std::string>& adapter) {
  if (!last_ || last_->model() != model || last_->adapter() != adapter || !last_->is_current()) {
    keep(nullptr);  // before the next one is opened: never two models at once
    keep(std::make_shared<experiment::Session>(model, adapter));
  }
  return last_;
}

void SessionCache::keep(std::shared_ptr<experiment::Session> session) {
  const std::lock_guard lock(mutex_);
  last_ = std::move(session);
}

std::optional<experiment::LoadedWeights> SessionCache::loaded() const {
  const std::lock_guard lock(mutex_);
  return last_ ? last_->loaded() : std::nullopt;
}

std::string device_of(const std::string& request, const model::DeviceChoice& device) {
  return request != "auto" ? request : model::request_for(device);
}

std::string device_note(const std::string& request, const model::DeviceChoice& device) {
  return request == "auto" ? device.note : std::string();
}

experiment::PreparedRun RunHost::inspect(const protocol::RunSpec& spec) {
  experiment::require_regular_files(spec);
  return experiment::prepare_run(
      spec, [&](const std::string& model, const auto& adapter) { return inspecting_.get(model, adapter); },
      device_of("auto", device_));
}

protocol::Preflight RunHost::preflight(const protocol::RunSpec& spec) {
  return experiment::preflight(inspect(spec), {working_.loaded(), busy_()});
}

JobKind RunHost::kind() {
  JobKind kind;
  kind.start_method = protocol::method::run_start;
  kind.plan = [this](const nlohmann::json& params) {
    const auto spec = protocol::run_start_params_from_json(params).spec;
    const auto prepared = inspect(spec);
    const auto found = experiment::preflight(prepared, {working_.loaded(), busy_()});
    experiment::refuse_what_cannot_fit(prepared, found);
    JobPlan plan;
    plan.answer = {{"preflight", protocol::to_json(found)}};
    plan.work = [this, spec](JobReporter& reporter, const JobContext& job) { return run(spec, reporter, job); };
    return plan;
  };
  return kind;
}

nlohmann::json RunHost::run(const protocol::RunSpec& spec, JobReporter& reporter, const JobContext& job) {
  const auto prepared = experiment::prepare_run(
      spec, [&](const std::string& model, const auto& adapter) { return working_.get(model, adapter); },
      device_of("auto", device_), job);
  reporter.notice(device_note(spec.device, device_));
  for (const std::string& warning : prepared.prompt.warnings) reporter.notice(warning);
  // What is free may have changed since the job was queued.
  experiment::refuse_what_cannot_fit(prepared, experiment::preflight(prepared, {working_.loaded(), false}));
  experiment::RunCallbacks callbacks;
  const auto number = reporter.job();
  callbacks.prepared = [&](const record::RunMeta& meta, std::int64_t tokens) {
    reporter.notify(protocol::method::job_prepared, protocol::to_json(protocol::JobPrepared{number, meta, tokens}));
  };
  callbacks.method_finished = [&](const record::MethodSummary& method) {
    reporter.notify(protocol::method::job_partial, protocol::to_json(protocol::JobPartial{number, method}));
  };
  callbacks.answer_grows = [&](const std::string& id, const std::string& text) { reporter.answer(id, text); };
  callbacks.notice = [&](const std::string& text) { reporter.notice(text); };
  callbacks.record_written = [&](const record::RunMeta&, const std::string& path) { reporter.set_record(path); };
  callbacks.store_opened = [&](const record::RunMeta& meta, std::shared_ptr<const experiment::StreamStore> store) {
    tiles_.set_run(meta.run_id, std::move(store));
  };
  const auto outcome = experiment::run(prepared, job, callbacks);
  return protocol::run_result_json(outcome.meta, outcome.tokens, outcome.methods, outcome.record_path);
}

}  // namespace headroom::cli
