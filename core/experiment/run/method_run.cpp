// SPDX-License-Identifier: Apache-2.0
#include "experiment/run/method_run.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "attention/registry.h"
#include "base/error.h"
#include "base/utf8.h"
#include "experiment/passes/device_shares.h"
#include "experiment/passes/machine_lock.h"
#include "experiment/passes/timed_pass.h"
#include "experiment/plan/plan.h"
#include "experiment/run/preflight.h"

namespace headroom::experiment {
namespace {

constexpr std::int64_t cpu_warmup_tokens = 256;

/// The texts of candidates; those that a padded vocabulary has no text for stay empty.
void name_tokens(const tokenizer::Tokenizer& tokenizer, record::AnswerPosition& position) {
  for (record::TokenChoice& choice : position.candidates) {
    try {
      choice.text = utf8_head(replace_invalid_utf8(tokenizer.piece(choice.id)), 1000);
    } catch (const Error&) {
      choice.text.clear();
    }
  }
}

}  // namespace

MethodRunner::MethodRunner(const PreparedRun& run, const model::Decoder& decoder, StreamStore& store, bool keep_maps,
                           ProgressPlan& progress, CostModel::Notice notice, AnswerSink answer_grows)
    : run_(run),
      decoder_(decoder),
      keep_maps_(keep_maps),
      progress_(progress),
      notice_(std::move(notice)),
      answer_grows_(std::move(answer_grows)),
      recorded_(run.config(), run.length(), store, keep_maps),
      dense_policy_(attention::make_dense_policy()) {
  recorded_.keep_maps_of(map_layers(run));
}

std::int64_t MethodRunner::new_tokens() const {
  return std::clamp<std::int64_t>(run_.config().context_length - run_.length(), 0, run_.prompt.max_new_tokens);
}

std::vector<std::int32_t> MethodRunner::reference_ids(const PreparedRun& run) {
  std::vector<std::int32_t> ids;
  if (!run.prompt.sample || run.prompt.sample->references.empty()) return ids;
  std::string text;
  for (const std::string& reference : run.prompt.sample->references) text += (text.empty() ? " " : ", ") + reference;
  for (const auto& token : run.session->tokenizer().encode(text, {})) ids.push_back(token.id);
  if (run.length() + std::ssize(ids) - 1 > run.config().context_length) ids.clear();
  return ids;
}

model::PrefillOptions MethodRunner::options(const Method& method) const {
  model::PrefillOptions options;
  options.policy = method.policy.get();
  options.backend = options.dense_backend = run_.backends.front().get();
  options.dense_layers = run_.methods.dense_layers;
  return options;
}

MethodData MethodRunner::run(const Method& method, const JobContext& job) {
  const c10::InferenceMode guard;
  MethodData data;
  record::MethodSummary& summary = data.summary;
  summary = describe(method, *run_.backends.front(), run_.length());
  if (method.policy->traits().needs_index && run_.is_beyond_training()) {
    const auto trained = std::to_string(run_.methods.indexer->metadata.trained_length);
    summary.label +=
        (summary.label.empty() ? "" : "; ") + ("indexer trained at " + trained + " tokens, longer is untested");
  }
  model::release_unused_memory();
  provide_dense_stream(method, run_.prompt.table.ids);
  auto& plan = summary.timing_plan.emplace(timing_plan(method, job));
  if (plan.dense_backend.empty()) plan.dense_backend = run_.backends.front()->id();
  summary.plan = plan_text(plan, method.is_dense(), run_.methods.dense_layers);
  if (const auto* fastest = dense_backend(summary); fastest && method.is_dense())
    summary.backend = fastest->dense_label();  // what everything is compared with is the fastest dense there is
  auto pass = options(method);
  pass.job = progress_.begin(method.id + " recorded", true);
  pass.extra_capacity = new_tokens();
  auto result = recorded_.run(
      pass, [this](const auto& shown) { return decoder_.prefill(run_.prompt.table.ids, shown); }, data);
  progress_.end();
  model::release_unused_memory();
  plan.density = method.is_dense() ? 1.0 : planned_density(plan, summary.density, run_.methods.dense_layers);
  score(result, data, job);
  result = {};  // its state is not needed any more, and another follows
  score_reference_answer(method, summary, job);
  return data;
}

void MethodRunner::provide_dense_stream(const Method& method, std::span<const std::int32_t> ids) {
  if (!method.policy->traits().needs_dense_stream || run_.methods.dense_streams->holds(ids)) return;
  model::PrefillOptions pass;
  pass.policy = dense_policy_.get();
  pass.backend = pass.dense_backend = run_.backends.front().get();
  pass.job = progress_.begin(method.id + " dense run", false);
  run_.methods.dense_streams->fill(decoder_, ids, pass);
  progress_.end();
}

void MethodRunner::score_reference_answer(const Method& method, record::MethodSummary& summary, const JobContext& job) {
  const std::vector<std::int32_t> ids = reference_ids(run_);
  if (ids.empty() || !summary.causal) return;
  job.check();
  if (method.policy->traits().needs_dense_stream) {
    std::vector<std::int32_t> all = run_.prompt.table.ids;
    all.insert(all.end(), ids.begin(), ids.end() - 1);  // what score_reference() prefills
    provide_dense_stream(method, all);
  }
  auto pass = options(method);
  pass.job = progress_.begin(method.id + " reference answer", true);
  summary.reference_answer = score_reference(decoder_, run_.prompt.table.ids, ids, pass);
  progress_.end();
}

record::TimingPlan MethodRunner::timing_plan(const Method& method, const JobContext& job) {
  const auto& set = run_.methods;
  const bool dense = method.is_dense();
  if (run_.plans && !dense && !method.is_reference())
    return find_plan(*run_.plans, method.id, run_.length(), set.dense_layers, run_.config());
  auto defined = defined_plan(dense, set.dense_layers, run_.config());
  if (run_.spec.plan || !run_.device.device.is_cpu() || !(dense || may_plan(*method.policy))) return defined;
  if (!costs_) costs_.emplace(run_.config(), run_.dtype, run_.backends, run_.device.description, notice_);
  JobContext context{job.stop, [this](const Progress& progress) { progress_.report(progress.phase); }};
  if (dense) {
    defined.dense_backend = fastest_dense(*costs_, run_.length(), context);
    return defined;
  }
  return automatic_plan(*costs_, method, run_.length(), set.dense_layers, run_.config(), context);
}

const attention::Backend* MethodRunner::dense_backend(const record::MethodSummary& summary) const {
  return attention::find_backend(run_.backends, summary.timing_plan->dense_backend).get();
}

std::vector<MethodRunner::Lane> MethodRunner::lanes(const std::vector<Method>& methods,
                                                    const std::vector<record::MethodSummary>& summaries) const {
  std::vector<Lane> result;
  for (std::size_t i = 0; i < summaries.size(); ++i) {
    const Method& method = methods[i];
    Lane& lane = result.emplace_back(Lane{i, {}, method.id, options(method), {}});
    lane.pass.dense_layers = dense_layers_of(*summaries[i].timing_plan);
    if (const auto* fastest = dense_backend(summaries[i])) {
      lane.pass.dense_backend = fastest;
      if (method.is_dense()) lane.pass.backend = fastest;
    }
    if (!method.is_dense()) continue;
    for (const std::string& wanted : run_.spec.baselines) {
      const auto backend = attention::find_backend(run_.backends, wanted);
      if (!backend || backend->dense_label() == summaries[i].backend) continue;  // timed already
      Lane& baseline = result.emplace_back(Lane{i, wanted, "dense by " + wanted, {}, {}});
      baseline.pass.policy = dense_policy_.get();
      baseline.pass.backend = baseline.pass.dense_backend = backend.get();
    }
  }
  return result;
}

bool MethodRunner::warms_up(const Lane& lane) {
  const std::span<const std::int32_t> ids = run_.prompt.table.ids;
  // A short prompt wakes threads and touches every weight; a GPU chooses its kernels by shape, so it sees them all.
  const auto tokens =
      decoder_.device().is_cpu() ? std::min<std::size_t>(ids.size(), cpu_warmup_tokens) : ids.size();
  auto pass = lane.pass;
  pass.job = progress_.begin(lane.phase + " warm-up", false);
  try {
    decoder_.prefill(ids.first(tokens), pass);
  } catch (const Error& error) {
    // Not every library takes every shape; the others are timed all the same.
    if (lane.baseline.empty() || error.kind() == ErrorKind::cancelled) throw;
    if (notice_) notice_(lane.phase + " is not timed: " + error.what());
    progress_.end();
    return false;
  }
  progress_.end();
  return true;
}

bool MethodRunner::is_for_plans(const Method& method) {
  return method.is_dense() || may_plan(*method.policy);
}

bool MethodRunner::plans_by_times(const PreparedRun& run) {
  const auto& methods = run.methods.methods;
  return !run.device.device.is_cpu() && !run.plans && !run.spec.plan &&
         std::ranges::any_of(methods, [](const Method& method) { return method.is_dense(); }) &&
         std::ranges::any_of(methods, [](const Method& method) { return may_plan(*method.policy); });
}

void MethodRunner::plan_by_times(std::vector<Lane>& lanes, const std::vector<Method>& methods,
                                 std::vector<record::MethodSummary>& summaries, StageTimer& timer,
                                 const JobContext& job) {
  std::vector<std::vector<double>> layer_ms;
  const attention::Backend* dense = nullptr;
  std::vector<double> dense_ms;
  double least = std::numeric_limits<double>::infinity();
  for (const Lane& lane : lanes) {
    layer_ms.emplace_back();
    if (!is_for_plans(methods[lane.method])) continue;
    job.check();
    auto pass = lane.pass;
    pass.job = progress_.begin(lane.phase + " plan", true);
    layer_ms.back() = attention_by_layer(timed_pass(decoder_, run_.prompt.table.ids, pass, timer).stages);
    progress_.end();
    if (!methods[lane.method].is_dense()) continue;
    const double sum = std::accumulate(layer_ms.back().begin(), layer_ms.back().end(), 0.0);
    if (sum >= least) continue;
    least = sum;
    dense = lane.pass.dense_backend;
    dense_ms = layer_ms.back();
  }
  if (!dense) return;  // no library took the shape
  const std::set<int>& listed = run_.methods.dense_layers;
  for (std::size_t i = 0; i < lanes.size(); ++i) {
    const Method& method = methods[lanes[i].method];
    if (method.is_dense() || !may_plan(*method.policy)) continue;
    record::MethodSummary& summary = summaries[lanes[i].method];
    record::TimingPlan& plan = *summary.timing_plan;
    plan.machine = run_.device.description;
    plan.dtype = dtype_name(run_.dtype);
    plan.threads = at::get_num_threads();
    plan.dense_backend = dense->id();
    choose_layers_by_times(plan, dense_ms, layer_ms[i], listed);
    plan.density = planned_density(plan, summary.density, listed);
    summary.plan = plan_text(plan, false, listed);
    lanes[i].pass.dense_layers = dense_layers_of(plan);
    lanes[i].pass.dense_backend = dense;
  }
}

void MethodRunner::time_in_turn(const std::vector<Method>& methods, std::vector<record::MethodSummary>& summaries,
                                const JobContext& job) {
  const c10::InferenceMode guard;
  recorded_.drop_hidden();
  const std::span<const std::int32_t> ids = run_.prompt.table.ids;
  for (const Method& method : methods)
    provide_dense_stream(method, ids);  // a reference answer may have taken its place
  model::release_unused_memory();
  std::vector<Lane> all = lanes(methods, summaries);
  const auto machine = MachineLock::wait(job);
  std::erase_if(all, [&](const Lane& lane) { return !warms_up(lane); });
  const auto timer = make_stage_timer(decoder_.device(), run_.config().num_layers());
  if (plans_by_times(run_)) plan_by_times(all, methods, summaries, *timer, job);
  const std::string of = "/" + std::to_string(run_.spec.repeats);
  for (int round = 0; round < run_.spec.repeats; ++round) {
    std::vector<TimedPass> passes;
    for (const Lane& lane : all) {
      job.check();
      auto pass = lane.pass;
      pass.job = progress_.begin(lane.phase + " timed " + std::to_string(round + 1) + of, true);
      passes.push_back(timed_pass(decoder_, ids, pass, *timer));
      progress_.end();
    }
    // A round counts once it is whole, and at once: a run that is stopped keeps those before.
    for (std::size_t i = 0; i < all.size(); ++i) all[i].passes.push_back(std::move(passes[i]));
    summarise_lanes(all, summaries);
  }
}

void MethodRunner::summarise_lanes(const std::vector<Lane>& lanes,
                                   std::vector<record::MethodSummary>& summaries) const {
  for (const Lane& lane : lanes) {
    record::MethodSummary times;
    summarise(lane.passes, times);
    // Maps that wait on a GPU for the record are not the method's.
    const auto devices = model::devices_of(decoder_.parts());
    for (std::size_t i = 0; i < times.device_peak_bytes.size() && i < devices.size(); ++i) {
      times.device_peak_bytes[i] -= recorded_.held_on(devices[i]);
      times.peak_bytes -= recorded_.held_on(devices[i]);
    }
    record::MethodSummary& summary = summaries[lane.method];
    if (!lane.baseline.empty()) {
      summary.baselines.push_back({lane.baseline, times.ttft, times.load});
      continue;
    }
    summary.baselines.clear();
    summary.ttft = times.ttft;
    summary.ttft_samples = std::move(times.ttft_samples);
    summary.stages = times.stages;
    summary.layer_stages = std::move(times.layer_stages);
    summary.load = times.load;
    summary.devices = device_shares(decoder_.parts(), decoder_.part_bytes(), times.device_peak_bytes, lane.passes);
    summary.device_peak_bytes = std::move(times.device_peak_bytes);
    summary.peak_bytes = times.peak_bytes;
  }
}

void MethodRunner::score(model::PrefillResult& result, MethodData& data, const JobContext& job) {
  record::MethodSummary& summary = data.summary;
  const auto& tokenizer = run_.session->tokenizer();
  ScoreOptions wanted;
  wanted.max_new_tokens = new_tokens();
  wanted.ends = tokenizer.end_tokens();
  wanted.job = job;
  wanted.keep_choices = record::kept_answer_positions;
  tokenizer::StreamDecoder stream(tokenizer);
  std::string text;
  std::size_t taken = 0;
  wanted.progress = [&](std::span<const std::int32_t> answer) {
    for (; taken < answer.size(); ++taken) text += stream.take(answer[taken]);
    progress_.report(summary.id + " answer", std::ssize(answer), wanted.max_new_tokens);
    if (answer_grows_ && !text.empty()) answer_grows_(summary.id, text);
  };
  ScoredAnswer scored = score_prefill(decoder_, result, wanted, dense_answer_ ? &*dense_answer_ : nullptr);
  summary.answer_ids = scored.ids;
  summary.answer_cut = scored.cut || (new_tokens() == 0 && run_.prompt.max_new_tokens > 0);
  summary.kl_to_dense = scored.kl_to_dense;
  summary.top1_agrees = scored.top1_agrees;
  summary.forced = scored.forced;
  data.choices = std::move(scored.choices);
  for (record::AnswerPosition& position : data.choices) {
    name_tokens(tokenizer, position);
    if (summary.forced->first_difference && summary.forced->first_difference->position == position.position)
      summary.forced->first_difference = position;
  }
  // A character may be cut off in the middle where the answer stops.
  summary.answer = replace_invalid_utf8(tokenizer.decode(summary.answer_ids));
  if (run_.prompt.sample && !run_.prompt.sample->references.empty() && run_.prompt.max_new_tokens > 0)
    summary.task_score = tasks::score(*run_.prompt.sample, summary.answer);
  if (summary.is_dense()) dense_answer_ = std::move(scored);
}

}  // namespace headroom::experiment
