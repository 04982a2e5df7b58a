// SPDX-License-Identifier: Apache-2.0
#include "experiment/method_run.h"

#include <ATen/ops/argmax.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>

#include "attention/analysis.h"
#include "base/utf8.h"
#include "experiment/plan.h"
#include "experiment/stage_timer.h"
#include "model/device.h"

namespace headroom::experiment {
namespace {

using Clock = std::chrono::steady_clock;
constexpr double no_value = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t cpu_warmup_tokens = 256;

std::int32_t best_token(const at::Tensor& logits) {
  return static_cast<std::int32_t>(at::argmax(logits).item<std::int64_t>());
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  std::int64_t count = 0;
  for (double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count) : no_value;
}

double smallest(const std::vector<double>& values) {
  double least = no_value;
  for (double value : values)
    if (std::isnan(least) || value < least) least = value;
  return least;
}

SupportBitmap to_bitmap(const std::vector<attention::SupportTile>& tiles, std::int64_t length) {
  if (tiles.empty()) return {};
  SupportBitmap bitmap(length);
  for (const auto& tile : tiles) {
    const auto indices = tile.indices.to(at::kCPU).contiguous();
    const auto counts = tile.counts.to(at::kCPU).contiguous();
    const auto width = indices.size(1);
    const auto* index = indices.const_data_ptr<std::int32_t>();
    const auto* count = counts.const_data_ptr<std::int32_t>();
    for (std::int64_t row = 0; row < indices.size(0); ++row) {
      const auto query = tile.row_begin + row;
      for (std::int64_t i = 0; i < std::min<std::int64_t>(count[row], width); ++i) {
        const auto key = index[row * width + i];
        if (query >= length || key < 0 || key > query)
          throw Error(ErrorKind::internal, "a policy selected a key outside the history");
        bitmap.set(query, key);
      }
    }
  }
  return bitmap;
}

std::vector<double> log_softmax(const std::vector<float>& logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp(logit - top);
  const double lse = top + std::log(sum);
  std::vector<double> result;
  result.reserve(logits.size());
  for (float logit : logits) result.push_back(logit - lse);
  return result;
}

/// KL(p || q) in nats.
double kl_divergence(const std::vector<float>& p_logits, const std::vector<float>& q_logits) {
  const auto p = log_softmax(p_logits), q = log_softmax(q_logits);
  double kl = 0;
  for (std::size_t i = 0; i < p.size(); ++i)
    if (const double mass = std::exp(p[i]); mass > 0) kl += mass * (p[i] - q[i]);
  return std::max(kl, 0.0);
}

std::vector<float> to_vector(const at::Tensor& tensor) {
  const auto host = tensor.to(at::kCPU, at::kFloat).contiguous();
  const auto* values = host.const_data_ptr<float>();
  return {values, values + host.numel()};
}

std::unique_ptr<attention::Policy> own_dense(c10::Device device) {
  attention::PolicyOptions options;
  options.device = device.type();
  return attention::make_policy(options);
}

}  // namespace

record::Quartiles quartiles(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    const double place = share * static_cast<double>(values.size() - 1);
    const auto low = static_cast<std::size_t>(place);
    const auto high = std::min(low + 1, values.size() - 1);
    return values[low] + (values[high] - values[low]) * (place - static_cast<double>(low));
  };
  return {at(0.5), at(0.25), at(0.75), static_cast<int>(values.size())};
}

MethodRunner::MethodRunner(const PreparedRun& run, const model::Decoder& decoder, StreamStore& store, bool keep_maps,
                           ProgressPlan& progress, CostModel::Notice notice)
    : run_(run),
      decoder_(decoder),
      store_(store),
      keep_maps_(keep_maps),
      progress_(progress),
      notice_(std::move(notice)),
      dense_policy_(own_dense(run.device.device)),
      baselines_(dense_baselines(run.device.device, run.dtype)) {}

std::int64_t MethodRunner::new_tokens() const {
  return std::min<std::int64_t>(run_.spec.max_new_tokens, run_.config().context_length - run_.length());
}

model::PrefillOptions MethodRunner::options(const Method& method, const JobContext& job) const {
  model::PrefillOptions options;
  options.policy = method.policy.get();
  options.dense_policy = dense_policy_.get();
  options.dense_layers = run_.methods.dense_layers;
  options.job = job;
  return options;
}

MethodData MethodRunner::run(const Method& method, const JobContext& job) {
  const c10::InferenceMode guard;
  const auto info = method.policy->info();
  MethodData data;
  auto& summary = data.summary;
  summary.id = method.id;
  summary.name = info.name;
  summary.budget = info.budget;
  if (info.budget && info.budget->kind != BudgetKind::mass)
    summary.budget_tokens = info.budget->tokens_for(run_.length());
  summary.granularity = info.granularity;
  summary.backend = info.backend;
  summary.label = info.label;
  summary.causal = info.causal;
  if (info.name == "indexer" && run_.length() > run_.methods.indexer->metadata.trained_length) {
    const auto trained = std::to_string(run_.methods.indexer->metadata.trained_length);
    summary.label +=
        (summary.label.empty() ? "" : "; ") + ("indexer trained at " + trained + " tokens, longer is untested");
  }
  time_passes(method, summary, job);
  auto result = record_pass(method, data);
  auto& plan = *summary.timing_plan;
  plan.density = info.is_dense ? 1.0 : planned_density(plan, summary.density, run_.methods.dense_layers);
  compare_last_logits(result.last_logits, info.is_dense, summary);
  answer(result, summary, job);
  return data;
}

record::TimingPlan MethodRunner::timing_plan(const Method& method, const JobContext& job) {
  const auto info = method.policy->info();
  const auto& set = run_.methods;
  if (run_.plans && !info.is_dense && info.name != "oracle")
    return find_plan(*run_.plans, method.id, run_.length(), set.dense_layers, run_.config());
  auto defined = defined_plan(info.is_dense, set.dense_layers, run_.config());
  if (run_.spec.plan || !run_.device.device.is_cpu() || !(info.is_dense || may_plan(info))) return defined;
  if (!costs_) costs_.emplace(run_.config(), run_.dtype, run_.device.description, notice_);
  JobContext context{job.stop, [this](const Progress& progress) { progress_.report(progress.phase); }};
  if (info.is_dense) {
    defined.dense_backend = fastest_dense(*costs_, *method.policy, run_.length(), context);
    return defined;
  }
  return automatic_plan(*costs_, *method.policy, cost_tag(method, set), run_.length(), set.dense_layers, run_.config(),
                        context);
}

double MethodRunner::time_once(model::PrefillOptions pass, const std::string& phase, StageTimer* timer) {
  pass.job.check();
  pass.job = progress_.begin(phase, true);
  pass.clock = timer;
  model::synchronize(run_.device.device);
  const auto start = Clock::now();
  const auto result = decoder_.prefill(run_.prompt.table.ids, pass);
  best_token(result.last_logits);  // the first token's id is on the host when this returns
  const std::chrono::duration<double, std::milli> passed = Clock::now() - start;
  progress_.end();
  return passed.count();
}

void MethodRunner::time_baselines(record::MethodSummary& summary, const JobContext& job) {
  for (const DenseBaseline& baseline : baselines_) {
    const auto& wanted = run_.spec.baselines;
    if (std::find(wanted.begin(), wanted.end(), baseline.backend) == wanted.end()) continue;
    if (baseline.policy->info().backend == summary.backend) continue;  // timed already
    model::PrefillOptions pass;
    pass.policy = pass.dense_policy = baseline.policy.get();
    pass.job = job;
    std::vector<double> samples;
    for (int repeat = 0; repeat < run_.spec.repeats; ++repeat)
      samples.push_back(time_once(pass, "dense by " + baseline.backend, nullptr));
    summary.baselines.push_back({baseline.backend, quartiles(samples)});
  }
}

void MethodRunner::time_passes(const Method& method, record::MethodSummary& summary, const JobContext& job) {
  const std::span<const std::int32_t> ids = run_.prompt.table.ids;
  const auto device = run_.device.device;
  const bool is_dense = method.policy->info().is_dense;
  const auto& plan = summary.timing_plan.emplace(timing_plan(method, job));
  summary.plan = plan_text(plan, is_dense, run_.methods.dense_layers);
  auto pass = options(method, job);
  pass.dense_layers = dense_layers_of(plan);
  for (const DenseBaseline& baseline : baselines_) {
    if (baseline.backend != plan.dense_backend) continue;
    pass.dense_policy = baseline.policy.get();
    if (!is_dense) continue;
    pass.policy = pass.dense_policy;  // what everything is compared with is the fastest dense there is
    summary.backend = baseline.policy->info().backend;
  }
  {
    // A short prompt wakes threads and touches every weight; a GPU chooses its kernels by shape, so it sees them all.
    const auto tokens = device.is_cpu() ? std::min<std::size_t>(ids.size(), cpu_warmup_tokens) : ids.size();
    auto warm_up = pass;
    warm_up.job = progress_.begin(method.id + " warm-up", false);
    decoder_.prefill(ids.first(tokens), warm_up);
    progress_.end();
  }
  model::reset_peak_bytes(device);
  const auto timer = make_stage_timer(device, run_.config().num_layers);
  std::vector<StageTimes> times;
  for (int repeat = 0; repeat < run_.spec.repeats; ++repeat) {
    const auto phase = method.id + " timed " + std::to_string(repeat + 1) + "/" + std::to_string(run_.spec.repeats);
    summary.ttft_samples.push_back(time_once(pass, phase, timer.get()));
    times.push_back(timer->finish());
  }
  summary.peak_bytes = model::peak_bytes(device);
  summary.ttft = quartiles(summary.ttft_samples);
  std::vector<double> samples(times.size());
  for (std::size_t stage = 0; stage < num_stages; ++stage) {
    std::transform(times.begin(), times.end(), samples.begin(), [&](const auto& time) { return time.total[stage]; });
    summary.stages[stage] = quartiles(samples);
  }
  summary.layer_stages.resize(static_cast<std::size_t>(run_.config().num_layers));
  for (std::size_t layer = 0; layer < summary.layer_stages.size(); ++layer) {
    for (std::size_t stage = 0; stage < num_stages; ++stage) {
      std::transform(times.begin(), times.end(), samples.begin(),
                     [&](const auto& time) { return time.layers[layer][stage]; });
      summary.layer_stages[layer][stage] = quartiles(samples).median;
    }
  }
  if (is_dense) time_baselines(summary, job);
}

model::PrefillResult MethodRunner::record_pass(const Method& method, MethodData& data) {
  const auto& config = run_.config();
  const auto layers = static_cast<std::size_t>(config.num_layers);
  const bool is_dense = method.policy->info().is_dense;
  auto& summary = data.summary;
  const auto heads = config.num_q_heads + 1;
  data.statistics.names = {attention::head_statistic_names.begin(), attention::head_statistic_names.end()};
  data.statistics.layers = data.curves.layers = config.num_layers;
  data.statistics.heads = data.curves.heads = heads;
  data.statistics.values.assign(layers * static_cast<std::size_t>(heads) * attention::num_head_statistics,
                                std::numeric_limits<float>::quiet_NaN());
  data.curves.budgets = attention::curve_budgets(run_.length());
  data.curves.values.assign(layers * static_cast<std::size_t>(heads) * 3 * data.curves.budgets.size(),
                            std::numeric_limits<float>::quiet_NaN());
  data.mass_received.resize(layers);
  data.selection_frequency.resize(layers);
  summary.captured_mass_per_layer.assign(layers, no_value);
  if (!is_dense) summary.oracle_recall_per_layer.assign(layers, no_value);
  if (!is_dense && !dense_logits_.empty()) summary.output_l2_per_layer.assign(layers, no_value);
  attended_pairs_ = 0;
  recalls_95_.clear();

  const auto context = progress_.begin(method.id + " recorded", true);
  auto pass = options(method, context);
  pass.extra_capacity = std::max<std::int64_t>(new_tokens(), 0);
  pass.observer = [&](const attention::LayerQuery& query, const at::Tensor&,
                      const std::vector<attention::SupportTile>& tiles) {
    record_layer(method, query, tiles, data, context);
  };
  pass.hidden_observer = [&](int layer, const at::Tensor& hidden) {
    if (is_dense) {
      store_.put_hidden(layer, hidden);
    } else if (const auto reference = store_.hidden(layer); reference.defined()) {
      const auto dense = reference.to(hidden.device(), at::kFloat);
      const double norm = dense.norm().item<double>();
      const double distance = hidden.to(at::kFloat).sub(dense).norm().item<double>();
      summary.output_l2_per_layer[static_cast<std::size_t>(layer)] = norm > 0 ? distance / norm : no_value;
    }
  };
  auto result = decoder_.prefill(run_.prompt.table.ids, pass);
  progress_.end();

  summary.captured_mass_mean = mean(summary.captured_mass_per_layer);
  summary.captured_mass_min = smallest(summary.captured_mass_per_layer);
  if (!is_dense) {
    summary.oracle_recall_mean = mean(summary.oracle_recall_per_layer);
    if (!recalls_95_.empty()) summary.oracle_recall_95_mean = mean(recalls_95_);
  }
  const double causal_pairs = 0.5 * static_cast<double>(run_.length()) * static_cast<double>(run_.length() + 1);
  summary.density =
      is_dense ? 1.0 : static_cast<double>(attended_pairs_) / (causal_pairs * static_cast<double>(run_.full_layers()));
  return result;
}

void MethodRunner::record_layer(const Method& method, const attention::LayerQuery& query,
                                const std::vector<attention::SupportTile>& tiles, MethodData& data,
                                const JobContext& job) {
  const auto layer = static_cast<std::size_t>(query.layer);
  attention::AnalysisOptions wanted;
  wanted.budget_tokens = data.summary.budget_tokens;
  wanted.thumbnail_size = thumbnail_size;
  wanted.thumbnails = keep_maps_;
  auto analysis = attention::analyse_layer(query, to_bitmap(tiles, run_.length()), wanted, job);

  const auto copy = [&](const std::vector<float>& from, std::vector<float>& to) {
    const auto part = to.size() / static_cast<std::size_t>(run_.config().num_layers);
    if (from.size() != part) throw Error(ErrorKind::internal, "an analysis has another size");
    std::copy(from.begin(), from.end(), to.begin() + static_cast<std::ptrdiff_t>(layer * part));
  };
  copy(analysis.statistics, data.statistics.values);
  copy(analysis.curves, data.curves.values);
  data.summary.captured_mass_per_layer[layer] = analysis.captured_mass_mean;
  // A layer that is dense by the list selects nothing: there is nothing to recall.
  if (analysis.oracle_recall && !tiles.empty()) data.summary.oracle_recall_per_layer[layer] = *analysis.oracle_recall;
  if (analysis.oracle_recall_95 && !tiles.empty()) recalls_95_.push_back(*analysis.oracle_recall_95);
  attended_pairs_ += tiles.empty() ? run_.length() * (run_.length() + 1) / 2 : analysis.attended_pairs;
  data.mass_received[layer] = std::move(analysis.mass_received);
  data.selection_frequency[layer] = std::move(analysis.selection_frequency);
  if (!keep_maps_) return;
  store_.put_stream(method.id, query.layer, query, analysis.lse);
  if (!analysis.thumbnail_max.empty())
    store_.put_thumbnails(method.id, query.layer, analysis.thumbnail_max, analysis.thumbnail_mean);
  if (analysis.support.length() > 0) store_.put_supports(method.id, query.layer, analysis.captured_mass_mean, analysis);
}

void MethodRunner::compare_last_logits(const at::Tensor& last_logits, bool is_dense, record::MethodSummary& summary) {
  const auto logits = to_vector(last_logits);
  if (is_dense) {
    dense_logits_ = logits;
  } else if (!dense_logits_.empty()) {
    summary.kl_to_dense = kl_divergence(dense_logits_, logits);
    const auto top = [](const std::vector<float>& values) {
      return std::max_element(values.begin(), values.end()) - values.begin();
    };
    summary.top1_agrees = top(logits) == top(dense_logits_);
  }
}

void MethodRunner::answer(model::PrefillResult& result, record::MethodSummary& summary, const JobContext& job) {
  const auto& tokenizer = run_.session->tokenizer();
  const auto& ends = tokenizer.end_tokens();
  auto logits = result.last_logits;
  for (std::int64_t n = 0; n < new_tokens(); ++n) {
    job.check();
    progress_.report(summary.id + " answer", n, new_tokens());
    const auto id = best_token(logits);
    if (std::find(ends.begin(), ends.end(), id) != ends.end()) break;
    summary.answer_ids.push_back(id);
    if (n + 1 < new_tokens()) logits = decoder_.decode(result.cache, id);
  }
  // A character may be cut off in the middle where the answer stops.
  summary.answer = replace_invalid_utf8(tokenizer.decode(summary.answer_ids));
  if (run_.prompt.sample && run_.spec.max_new_tokens > 0)
    summary.task_score = tasks::score(*run_.prompt.sample, summary.answer);
}

}  // namespace headroom::experiment
