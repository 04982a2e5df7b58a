// SPDX-License-Identifier: Apache-2.0
#include "experiment/bench/length_bench.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <limits>

#include "attention/registry.h"
#include "base/causal.h"
#include "base/error.h"
#include "experiment/bench/floor.h"
#include "experiment/passes/device_shares.h"
#include "experiment/passes/machine_lock.h"
#include "experiment/run/session.h"
#include "model/device.h"

namespace headroom::experiment {
namespace {

constexpr std::int64_t union_rows = 16;

/// Pairs and unions of a pass's supports, and how many layers gave any.
class SupportCount {
 public:
  SupportCount(std::int64_t length, bool drawn)
      : length_(length), drawn_(drawn), seen_(static_cast<std::size_t>(length), -1) {}

  void layer(const std::vector<attention::SupportTile>& tiles) {
    ++layers_;
    if (tiles.empty()) {  // a layer listed as dense
      pairs_ += causal_pairs(length_);
      return;
    }
    if (drawn_ && selected_ > 0) {  // the same keys in every layer
      pairs_ += first_pairs_;
      return;
    }
    const double before = pairs_;
    for (const auto& tile : tiles) add(tile);
    first_pairs_ = pairs_ - before;
  }
  double density() const { return layers_ > 0 ? pairs_ / (layers_ * causal_pairs(length_)) : 1; }
  std::optional<double> union_factor() const {
    return selected_ > 0 ? std::optional(static_cast<double>(union_rows) * union_keys_ / selected_) : std::nullopt;
  }

 private:
  void add(const attention::SupportTile& any) {
    const attention::SupportTile tile = attention::on_host(any);
    const auto* index = tile.indices.const_data_ptr<std::int32_t>();
    const auto* count = tile.counts.const_data_ptr<std::int32_t>();
    const double share = 1 / static_cast<double>(tile.groups);  // pairs of a layer: mean over its head groups
    for (std::int64_t i = 0; i < tile.groups * tile.rows(); ++i, index += tile.indices.size(2)) {
      const std::int64_t row = i % tile.rows();
      if (row == 0 || (tile.row_begin + row) % union_rows == 0) ++group_;
      pairs_ += share * count[i];
      selected_ += count[i];
      for (std::int32_t k = 0; k < count[i]; ++k) {
        auto& seen = seen_[static_cast<std::size_t>(index[k])];
        union_keys_ += seen != group_;
        seen = group_;
      }
    }
  }

  std::int64_t length_;
  bool drawn_;
  double layers_ = 0, pairs_ = 0, selected_ = 0, union_keys_ = 0, first_pairs_ = 0;
  std::int64_t group_ = 0;  ///< of rows that share a union
  std::vector<std::int64_t> seen_;
};

/// k of supports that can be drawn for a method: keys ranked for the whole layer, row by row, as many for each; else 0.
std::int64_t drawn_keys(const Method& method, std::int64_t length) {
  const attention::Policy& policy = *method.policy;
  const attention::PolicySettings& settings = policy.settings();
  if (policy.is_dense() || policy.traits().score == ScoreKind::none || settings.granularity != 1 ||
      policy.traits().scope != SupportScope::layer || settings.layer_budgets || !settings.budget ||
      settings.budget->kind == BudgetKind::mass)
    return 0;
  const std::int64_t k = policy.most_tokens(length);
  return k < length ? k : 0;
}

double sum_of(const StageTimes& times) {
  double sum = 0;
  for (const double ms : times.total) sum += ms;
  return sum;
}

/// Multiply-adds that score a pair of row and key; 0 where that is not known.
std::int64_t products_a_pair(const Method& method, const model::ModelConfig& config) {
  const model::AttentionSpec& attention = config.typical_layer().attention;
  switch (method.policy->traits().score) {
    case ScoreKind::mass:
      return attention.num_q_heads * attention.head_dim;
    case ScoreKind::index:
      return method.policy->settings().index ? method.policy->settings().index->dim() : 0;
    default:
      return 0;
  }
}

/// A GPU's kernels are loaded where they are called first: where the second layer that ran sparse took less, the first
/// would have. `plan`: as defined.
void forgive_first_call(std::vector<double>& layer_ms, const record::TimingPlan& plan) {
  double* first = nullptr;
  for (std::size_t layer = 0; layer < plan.layers.size(); ++layer) {
    if (plan.layers[layer].run != record::LayerRun::sparse) continue;
    if (first) {
      *first = std::min(*first, layer_ms[layer]);
      return;
    }
    first = &layer_ms[layer];
  }
}

}  // namespace

LengthBench::LengthBench(const BenchContext& context, std::vector<std::int32_t> ids)
    : context_(context),
      ids_(std::move(ids)),
      listed_(context.spec.dense_layers.begin(), context.spec.dense_layers.end()),
      dense_policy_(attention::make_dense_policy()),
      timer_(make_stage_timer(context.decoder.device(), context.decoder.config().num_layers())) {}

bool LengthBench::past_context() const {
  return length() > context_.decoder.config().context_length;
}

LengthBench::Candidate& LengthBench::add_row(Method method, const attention::Backend& backend) {
  Candidate& candidate = candidates_.emplace_back();
  BenchRow& row = candidate.row;
  const auto summary = describe(method, backend, length());
  row.length = length();
  row.id = summary.id;
  row.method = summary.name;
  row.role = summary.role;
  row.title = summary.title;
  row.look = summary.look;
  row.backend = summary.is_dense() ? backend.id() : summary.backend;
  row.label = summary.label;
  row.budget = summary.budget;
  row.granularity = summary.granularity;
  row.timing_plan = defined_plan(summary.is_dense(), listed_, context_.decoder.config());
  row.plan = plan_text(row.timing_plan, summary.is_dense(), listed_);
  if (past_context())
    row.note =
        "past the model's context of " + std::to_string(context_.decoder.config().context_length) + ": timing only";
  candidate.method = std::move(method);
  candidate.backend = candidate.dense_backend = &backend;
  return candidate;
}

void LengthBench::add_dense(const attention::Backend& backend) {
  add_row({dense_policy_->id(), dense_policy_}, backend);
}

void LengthBench::add(const Method& method) {
  const std::int64_t k = context_.spec.supports == "measured" ? drawn_keys(method, length()) : 0;
  add_row(method, k > 0 ? drawn_backend(k) : *context_.backends.front()).row.supports = k > 0 ? "measured" : "own";
}

const attention::Backend& LengthBench::drawn_backend(std::int64_t k) {
  auto& drawn = drawn_[k];
  if (!drawn) {
    const c10::InferenceMode guard;
    drawn = std::make_unique<Drawn>();
    drawn->supports = draw_supports(length(), k, context_.decoder.device());
    drawn->backend = with_drawn_supports(*context_.backends.front(), drawn->supports);
  }
  return *drawn->backend;
}

std::int64_t LengthBench::drawn_bytes(const std::vector<Method>& methods, std::int64_t length) {
  std::set<std::int64_t> sizes;
  for (const Method& method : methods) sizes.insert(drawn_keys(method, length));
  std::int64_t bytes = 0;
  for (const std::int64_t k : sizes) bytes += k > 0 ? length * (k + 1) * 4 : 0;
  return bytes;
}

model::PrefillOptions LengthBench::options(const Candidate& candidate, const std::string& phase) const {
  model::PrefillOptions made;
  made.policy = candidate.method.policy.get();
  made.backend = candidate.backend;
  made.dense_backend = candidate.dense_backend;
  made.dense_layers = listed_;
  made.allow_past_context = true;
  made.clock = timer_.get();
  made.job.stop = context_.job.stop;
  const std::string name =
      candidate.row.method + " (" + candidate.row.backend + ") " + std::to_string(length()) + " " + phase;
  made.job.progress = [this, name](const Progress& progress) {
    Progress renamed = progress;
    renamed.phase = name;
    context_.job.report(renamed);
  };
  return made;
}

// As defined and with supports counted; its layers' times choose the plan. Its own time is no result.
void LengthBench::warm_up(Candidate& candidate) const {
  auto made = options(candidate, "warm-up");
  BenchRow& row = candidate.row;
  const bool is_dense = candidate.method.is_dense();
  SupportCount count(length(), row.supports == "measured");
  if (!is_dense) {
    made.observer = [&](const attention::PreparedLayer&, const at::Tensor&,
                        const std::vector<attention::SupportTile>& tiles) { count.layer(tiles); };
  }
  try {
    context_.decoder.prefill(ids_, made);
    const StageTimes times = timer_->finish();
    candidate.warm_up_ms = attention_by_layer(times);
    if (is_dense) return;
    row.as_defined_ms = sum_of(times);
    row.density = row.density_as_defined = count.density();
    row.union_factor = count.union_factor();
  } catch (const Error& error) {
    timer_->finish();
    // Not every backend takes every shape; the other baselines still stand.
    if (!is_dense || error.kind() == ErrorKind::cancelled || context_.decoder.device().is_cpu()) throw;
    row.error = error.what();
  }
}

void LengthBench::make_plan(Candidate& candidate) const {
  BenchRow& row = candidate.row;
  // Dense layers run what was fastest in the warm-up passes.
  const Candidate* fastest = nullptr;
  double least = std::numeric_limits<double>::infinity();
  for (const Candidate& other : candidates_) {
    if (!other.method.is_dense() || !other.row.error.empty()) continue;
    double sum = 0;
    for (const double ms : other.warm_up_ms) sum += ms;
    if (sum >= least) continue;
    least = sum;
    fastest = &other;
  }
  if (candidate.row.role != MethodRole::deployable || !fastest) return;
  const auto& config = context_.decoder.config();
  std::string backend = fastest->row.backend;
  if (context_.plans) {
    row.timing_plan = find_plan(*context_.plans, row.id, length(), listed_, config);
    check_dense_backend(*context_.plans, row.timing_plan, context_.backends);
    backend = row.timing_plan.dense_backend;
  } else if (!context_.spec.plan) {
    auto& plan = row.timing_plan;
    plan.machine = context_.machine;
    plan.dtype = dtype_name(context_.decoder.dtype());
    plan.threads = at::get_num_threads();
    if (!context_.decoder.device().is_cpu()) forgive_first_call(candidate.warm_up_ms, plan);
    choose_layers_by_times(plan, fastest->warm_up_ms, candidate.warm_up_ms, listed_);
  }
  row.timing_plan.dense_backend = backend;
  if (const auto found = attention::find_backend(context_.backends, backend)) candidate.dense_backend = found.get();
  row.plan = plan_text(row.timing_plan, false, listed_);
  row.density = row.timing_plan.density = planned_density(row.timing_plan, row.density_as_defined, listed_);
  if (!context_.costs || !may_plan(*candidate.method.policy)) return;
  const auto predicted = automatic_plan(*context_.costs, candidate.method, length(), listed_, config, context_.job);
  for (const auto& layer : predicted.layers) {
    if (!std::isfinite(layer.sparse_ms)) continue;
    row.predicted_dense_ms = layer.dense_ms;
    row.predicted_sparse_ms = layer.sparse_ms;
    break;
  }
}

void LengthBench::time_once(Candidate& candidate, int round) const {
  auto made = options(candidate, "timed " + std::to_string(round + 1) + "/" + std::to_string(context_.spec.repeats));
  made.dense_layers = dense_layers_of(candidate.row.timing_plan);
  candidate.passes.push_back(timed_pass(context_.decoder, ids_, std::move(made), *timer_));
}

void LengthBench::count_rates(BenchRow& row, std::int64_t products) const {
  const auto& config = context_.decoder.config();
  const model::AttentionSpec& attention = config.typical_layer().attention;
  const auto stage = [&](Stage s) { return row.stages_ms[static_cast<std::size_t>(s)]; };
  constexpr double per_ms = 1e6;  // of 1e9 a second
  if (stage(Stage::attention) > 0) {
    const double pairs = row.density * causal_pairs(length()) * static_cast<double>(config.full_layers());
    row.attention_gflops = 4 * pairs * static_cast<double>(attention.num_q_heads * attention.head_dim) /
                           (per_ms * stage(Stage::attention));
    if (row.union_factor && row.timing_plan.count(record::LayerRun::dense) == 0)
      row.union_gflops = *row.attention_gflops * *row.union_factor;
  }
  if (const double ms = stage(Stage::score) + stage(Stage::select); ms > 0 && products > 0) {
    const double layers = static_cast<double>(row.timing_plan.count(record::LayerRun::sparse));
    row.score_gflops = 2 * static_cast<double>(products) * causal_pairs(length()) * layers / (per_ms * ms);
  }
  if (const double ms = stage(Stage::projections) + stage(Stage::mlp); ms > 0) {
    const auto weights = static_cast<double>(config.active_weights());
    row.gemm_gflops = 2 * weights * static_cast<double>(length()) / (per_ms * ms);
  }
}

std::vector<BenchRow> LengthBench::run() {
  {
    const auto machine = MachineLock::wait(context_.job);
    for (Candidate& candidate : candidates_) warm_up(candidate);
  }
  for (Candidate& candidate : candidates_) make_plan(candidate);
  model::release_unused_memory();
  const auto machine = MachineLock::wait(context_.job);
  const auto& decoder = context_.decoder;
  std::vector<double> floors;
  for (int round = 0; round < context_.spec.repeats; ++round) {
    {
      // Made anew each round, so that its tensors do not stand in the methods' peak memory.
      const Floor floor(decoder.config(), length(), decoder.device(), decoder.dtype());
      floor.measure();
      floors.push_back(floor.measure());
    }
    for (Candidate& candidate : candidates_)
      if (candidate.row.error.empty()) time_once(candidate, round);
  }
  std::vector<BenchRow> rows;
  for (Candidate& candidate : candidates_) {
    BenchRow& row = candidate.row;
    row.floor_ms = quartiles(floors).median;
    if (!candidate.passes.empty()) {
      record::MethodSummary timed;
      summarise(candidate.passes, timed);
      row.ttft = timed.ttft;
      row.load = timed.load;
      row.peak_bytes = timed.peak_bytes;
      for (std::size_t s = 0; s < num_stages; ++s) row.stages_ms[s] = timed.stages[s].median;
      row.peak_bytes_above_weights = std::max<std::int64_t>(0, row.peak_bytes - decoder.weight_bytes());
      count_rates(row, products_a_pair(candidate.method, decoder.config()));
      if (!decoder.device().is_cpu()) {  // keys that were drawn lie there all the time
        std::int64_t drawn = 0;
        for (const auto& [k, made] : drawn_)
          drawn += static_cast<std::int64_t>(made->supports.indices.nbytes() + made->supports.counts.nbytes());
        row.peak_bytes = std::max<std::int64_t>(0, row.peak_bytes - drawn);
        row.peak_bytes_above_weights = std::max<std::int64_t>(0, row.peak_bytes - decoder.weight_bytes());
        timed.device_peak_bytes[0] = std::max<std::int64_t>(0, timed.device_peak_bytes[0] - drawn);
      }
      row.devices = device_shares(decoder.parts(), decoder.part_bytes(), timed.device_peak_bytes, candidate.passes);
    }
    rows.push_back(std::move(row));
  }
  if (context_.llama_cpp && !past_context()) add_llama_cpp(rows);
  return rows;
}

void LengthBench::add_llama_cpp(std::vector<BenchRow>& rows) const {
  context_.job.report({.phase = "llama.cpp " + std::to_string(length())});
  const auto times = context_.llama_cpp->time(context_.model.checkpoint->path(), ids_, at::get_num_threads(),
                                              context_.spec.llama_cpp_repeats, context_.job);
  for (const LlamaCppTimes& time : times) {
    BenchRow& row = rows.emplace_back();
    row.length = length();
    row.id = row.method = dense_policy_->id();
    row.backend = std::string("llama.cpp (flash attention ") + (time.flash_attention ? "on)" : "off)");
    row.note = "its own arithmetic on the file's quantised weights";
    row.timing_plan = defined_plan(true, {}, context_.decoder.config());
    row.plan = plan_text(row.timing_plan, true, {});
    row.staged = false;
    row.floor_ms = rows.front().floor_ms;
    row.error = time.error;
    if (!time.ms.empty()) row.ttft = quartiles(time.ms);
  }
}

}  // namespace headroom::experiment
