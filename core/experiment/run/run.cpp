// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/run.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "checkpoint/adapter.h"
#include "experiment/passes/torch_errors.h"
#include "experiment/run/new_meta.h"
#include "experiment/run/method_run.h"
#include "experiment/run/preflight.h"
#include "experiment/run/prepared_run.h"
#include "experiment/run/progress_plan.h"
#include "experiment/run/record_builder.h"
#include "model/delta_kernels.h"
#include "experiment/passes/stream_store.h"
#include "protocol/json_fields.h"

namespace headroom::experiment {
namespace {

// After a cancel the record is written within this time, so that the job stops within a second.
constexpr std::chrono::milliseconds write_after_cancel{400};
// Bitmaps shrink in the record: a working file of this many limits holds all that can get there.
constexpr std::int64_t bitmap_limits = 4;

record::RunMeta make_meta(const PreparedRun& run) {
  const auto& config = run.config();
  record::RunMeta meta = new_meta();
  meta.spec_json = protocol::dump_json(protocol::to_json(run.spec));
  meta.model_name = config.name;
  // Records are passed on: file names, not the folders of this machine. The specification keeps what was typed.
  const auto& model = run.session->checkpoint().path();
  meta.model_path = (model.has_filename() ? model : model.parent_path()).filename().string();
  meta.model_sha256 = run.session->checkpoint().hash();
  if (const auto* adapter = run.session->checkpoint().adapter()) {
    meta.adapter_name = adapter->name();
    meta.adapter_sha256 = adapter->hash();
    meta.base_sha256 = run.session->checkpoint().base_hash();
  }
  meta.architecture = config.architecture;
  meta.device = model::description_of_all(run.device);
  if (const auto linear = model::linear_layers_text(config, run.device.device, run.dtype); !linear.empty())
    meta.device += "; " + linear;
  meta.dtype = dtype_name(run.dtype);
  meta.context = config.context_length;
  meta.layers = layers_of(config);
  if (run.methods.indexer) {
    meta.indexer_path = run.methods.indexer_path.filename().string();
    meta.indexer_sha256 = run.methods.indexer->sha256;
    meta.indexer_trained_length = run.methods.indexer->metadata.trained_length;
  }
  if (run.prompt.sample) {
    meta.task = run.prompt.sample->task;
    for (const auto& reference : run.prompt.sample->references)
      meta.task_reference += (meta.task_reference.empty() ? "" : "\n") + reference;
  }
  meta.chat = run.prompt.chat;
  meta.warnings = run.prompt.warnings;
  meta.warmups = MethodRunner::warmups;
  return meta;
}

/// Over the prompt: timed, for plans, recorded, and once more with a task's answer behind it for methods that are
/// causal.
std::int64_t planned_passes(const PreparedRun& run) {
  const auto& methods = run.methods.methods;
  const bool dense = std::ranges::any_of(methods, [](const Method& method) { return method.is_dense(); });
  const bool reference = !MethodRunner::reference_ids(run).empty(), plans = MethodRunner::plans_by_times(run);
  std::int64_t passes = dense ? std::ssize(run.spec.baselines) * (run.spec.repeats + (plans ? 1 : 0)) : 0;
  for (const Method& method : methods)
    passes += run.spec.repeats + 1 + (plans && MethodRunner::is_for_plans(method) ? 1 : 0) +
              (reference && method.policy->causal() ? 1 : 0);
  return passes;
}

class Run {
 public:
  Run(const PreparedRun& prepared, const JobContext& job, const RunCallbacks& callbacks)
      : prepared_(prepared),
        job_(job),
        callbacks_(callbacks),
        progress_(job, prepared.length(), prepared.config().num_layers(), planned_passes(prepared)) {}

  RunOutcome operator()() {
    outcome_.meta = make_meta(prepared_);
    outcome_.tokens = prepared_.length();
    store_ = std::make_shared<StreamStore>(scratch_folder(prepared_), bitmap_limits * prepared_.spec.record_limit);
    try {
      translate_errors([&] { methods(); }, memory_account(prepared_));
    } catch (const Error& error) {
      // What was finished stays: written quickly, marked incomplete.
      outcome_.meta.complete = false;
      if (builder_ && !outcome_.methods.empty()) write(write_after_cancel);
      throw;
    }
    if (builder_) write({});
    job_.check();
    return std::move(outcome_);
  }

 private:
  void methods() {
    progress_.report("loading the model");
    const auto& decoder = prepared_.session->decoder(place(prepared_), prepared_.dtype, {job_.stop, {}});
    job_.check();
    // The rest stays free for what the estimate does not know.
    store_->hold_on_devices(spare_device_bytes(prepared_) / 2);
    const bool wanted = prepared_.out.has_value();
    const protocol::RunSpec& spec = prepared_.spec;
    if (wanted)
      builder_.emplace(RecordPlan{prepared_.config(), prepared_.prompt.table, prepared_.dtype, spec.keep_layers,
                                  spec.keep_queries, spec.record_limit, std::ssize(prepared_.methods.methods),
                                  !prepared_.device.device.is_cpu()},
                       *prepared_.out, outcome_.meta, *store_);
    if (callbacks_.prepared) callbacks_.prepared(outcome_.meta, outcome_.tokens);
    if (wanted && callbacks_.store_opened) callbacks_.store_opened(outcome_.meta, store_);
    MethodRunner runner(prepared_, decoder, *store_, wanted, progress_, callbacks_.notice, callbacks_.answer_grows);
    for (const auto& method : prepared_.methods.methods) {
      const auto data = runner.run(method, job_);
      // Told first: where the record cannot take it, its figures are not lost.
      outcome_.methods.push_back(data.summary);
      if (callbacks_.method_finished) callbacks_.method_finished(data.summary);
      if (builder_) builder_->add(data);
    }
    outcome_.meta.timed_in_turn = true;
    runner.time_in_turn(prepared_.methods.methods, outcome_.methods, job_);
    if (callbacks_.method_finished)
      for (const auto& summary : outcome_.methods) callbacks_.method_finished(summary);
  }

  void write(std::optional<std::chrono::milliseconds> deadline) {
    model::release_unused_memory();
    builder_->set_summaries(outcome_.methods);  // with their times
    const auto written = builder_->finish(outcome_.meta, progress_, job_, deadline);
    outcome_.record_path = written.string();
    if (written != prepared_.out->asked() && callbacks_.notice)
      callbacks_.notice("this run's record is " + describe_output(prepared_.out->asked(), written));
    if (callbacks_.record_written) callbacks_.record_written(outcome_.meta, outcome_.record_path);
  }

  const PreparedRun& prepared_;
  const JobContext& job_;
  const RunCallbacks& callbacks_;
  ProgressPlan progress_;
  RunOutcome outcome_;
  std::shared_ptr<StreamStore> store_;
  std::optional<RecordBuilder> builder_;
};

}  // namespace

RunOutcome run(const PreparedRun& prepared, const JobContext& job, const RunCallbacks& callbacks) {
  return Run(prepared, job, callbacks)();
}

RunOutcome run(const protocol::RunSpec& spec, const JobContext& job, const RunCallbacks& callbacks) {
  return run(prepare_run(spec, {}, "auto", job), job, callbacks);
}

}  // namespace headroom::experiment
