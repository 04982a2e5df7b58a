// SPDX-License-Identifier: Apache-2.0
#include "serve_sweep.h"

#include "experiment/sweep/sweep.h"
#include "protocol/json_fields.h"
#include "protocol/messages.h"
#include "serve_run.h"

namespace headroom::cli {
namespace {

protocol::SweepSpec on_device(protocol::SweepSpec spec, const model::DeviceChoice& device) {
  spec.device = device_of(spec.device, device);
  return spec;
}

protocol::SweepNeeds needs_of(const experiment::PreparedSweep& prepared, bool busy) {
  const auto found = experiment::sweep_preflight(prepared, busy);
  protocol::SweepNeeds needs;
  needs.memory_needed = found.memory_needed;
  needs.memory_free = found.memory_free;
  needs.samples = found.samples;
  needs.rows = found.rows;
  needs.rows_found = found.rows_found;
  needs.longest = found.longest;
  needs.seconds = found.seconds;
  needs.device = model::description_of_all(prepared.device);
  needs.dtype = prepared.meta.dtype;
  for (const auto& method : prepared.meta.methods) needs.methods.push_back(method.id);
  needs.notes = found.notes;
  needs.warnings = prepared.warnings;
  return needs;
}

protocol::SweepSpec spec_of(const nlohmann::json& params) {
  protocol::Fields fields(params, protocol::method::sweep_start);
  return protocol::sweep_spec_from_json(fields.object("spec"));
}

nlohmann::json run_sweep_job(const protocol::SweepSpec& spec, const std::string& note, JobReporter& reporter,
                             const JobContext& job) {
  auto prepared = experiment::prepare_sweep(spec, job);
  const auto found = experiment::sweep_preflight(prepared);  // throws where it does not fit any more
  reporter.notice(note);
  for (const std::string& warning : prepared.warnings) reporter.notice(warning);
  std::int64_t rows = found.rows_found;
  experiment::SweepCallbacks callbacks;
  callbacks.notice = [&](const std::string& text) { reporter.notice(text); };
  callbacks.record_written = [&](const record::SweepRecord&, const std::string& path) { reporter.set_record(path); };
  callbacks.row_finished = [&](const record::SweepRow& row) {
    reporter.notify(protocol::method::job_row,
                    protocol::to_json(protocol::JobRow{reporter.job(), prepared.meta.tasks[row.sample.task].name,
                                                       prepared.meta.methods[row.method].id, row.sample.length, ++rows,
                                                       found.rows, prepared.store.string()}));
  };
  const auto outcome = experiment::sweep(prepared, job, callbacks);
  return {{"rows", outcome.record.rows.size()}, {"complete", outcome.record.meta.complete}};
}

}  // namespace

protocol::SweepNeeds sweep_needs(const protocol::SweepSpec& spec, const model::DeviceChoice& device, bool busy) {
  return needs_of(experiment::prepare_sweep(on_device(spec, device)), busy);
}

JobKind make_sweep_kind(const model::DeviceChoice& device, std::function<bool()> busy) {
  JobKind kind;
  kind.start_method = protocol::method::sweep_start;
  kind.plan = [&device, busy = std::move(busy)](const nlohmann::json& params) {
    const auto asked = spec_of(params);
    const auto note = device_note(asked.device, device);
    const auto spec = on_device(asked, device);
    JobPlan plan;
    // Whatever can be refused is refused at once.
    plan.answer["preflight"] = protocol::to_json(needs_of(experiment::prepare_sweep(spec), busy()));
    plan.work = [spec, note](JobReporter& reporter, const JobContext& job) {
      return run_sweep_job(spec, note, reporter, job);
    };
    return plan;
  };
  return kind;
}

}  // namespace headroom::cli
