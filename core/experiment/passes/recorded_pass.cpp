// SPDX-License-Identifier: Apache-2.0
#include "experiment/passes/recorded_pass.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "attention/analysis.h"
#include "base/causal.h"
#include "base/error.h"
#include "kernels/cuda/record/config.h"
#include "record/pyramid.h"

namespace headroom::experiment {
namespace {

constexpr double no_value = std::numeric_limits<double>::quiet_NaN();
constexpr float no_figure = std::numeric_limits<float>::quiet_NaN();

double mean(const std::vector<double>& values) {
  double sum = 0;
  std::int64_t count = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count) : no_value;
}

double smallest(const std::vector<double>& values) {
  double least = no_value;
  for (const double value : values)
    if (std::isnan(least) || value < least) least = value;
  return least;
}

/// Rows of a layer's heads, the head mean last, into [layers, heads, row] at `layer`; heads that it does not have stay.
void place_heads(const std::vector<float>& from, std::int64_t layer_heads, std::int64_t layer, std::int64_t heads,
                 std::int64_t row, std::vector<float>& to) {
  if (std::ssize(from) != layer_heads * row) throw Error(ErrorKind::internal, "an analysis has another size");
  for (std::int64_t head = 0; head < layer_heads; ++head) {
    const std::int64_t place = head + 1 == layer_heads ? heads - 1 : head;
    std::copy_n(from.begin() + head * row, row, to.begin() + (layer * heads + place) * row);
  }
}

}  // namespace

RecordedPass::RecordedPass(const model::ModelConfig& config, std::int64_t length, StreamStore& store, bool keep_maps)
    : config_(config), length_(length), store_(store), keep_maps_(keep_maps) {}

model::PrefillResult RecordedPass::run(model::PrefillOptions options, const Prefill& prefill, MethodData& data) {
  prepare(data);
  forced_ = options.policy->target_forced_keys();
  layer_budgets_ = options.policy->settings().layer_budgets;
  attended_pairs_ = 0;
  recalls_95_.clear();
  const bool is_dense = data.summary.is_dense();
  options.clock = nullptr;
  options.observer = [&](const attention::PreparedLayer& layer, const at::Tensor&,
                         const std::vector<attention::SupportTile>& tiles) {
    add_layer(layer, tiles, data, options.job);
  };
  options.hidden_observer = [&](int layer, const at::Tensor& hidden) {
    if (is_dense)
      store_.put_hidden(layer, hidden);
    else
      compare_hidden(layer, hidden, data.summary);
  };
  auto result = prefill(options);
  has_reference_ |= is_dense;
  finish(data.summary);
  return result;
}

bool RecordedPass::keeps_maps_of(int layer) const {
  return keep_maps_ &&
         (map_layers_.empty() || std::find(map_layers_.begin(), map_layers_.end(), layer) != map_layers_.end());
}

void RecordedPass::prepare(MethodData& data) const {
  const auto layers = static_cast<std::size_t>(config_.num_layers());
  const std::int64_t heads = config_.max_q_heads() + 1;
  data.statistics.names = {attention::head_statistic_names.begin(), attention::head_statistic_names.end()};
  data.statistics.layers = data.curves.layers = config_.num_layers();
  data.statistics.heads = data.curves.heads = heads;
  const std::size_t rows = layers * static_cast<std::size_t>(heads);
  data.statistics.values.assign(rows * attention::num_head_statistics, no_figure);
  data.curves.budgets = attention::curve_budgets(length());
  data.curves.values.assign(rows * 3 * data.curves.budgets.size(), no_figure);
  data.mass_received.resize(layers);
  data.selection_frequency.resize(layers);
  record::MethodSummary& summary = data.summary;
  summary.captured_mass_per_layer.assign(layers, no_value);
  if (summary.is_dense()) return;
  summary.oracle_recall_per_layer.assign(layers, no_value);
  if (!has_reference_) return;
  summary.output_l2_per_layer.assign(layers, no_value);
  summary.output_frobenius_per_layer.assign(layers, no_value);
}

void RecordedPass::add_layer(const attention::PreparedLayer& prepared, const std::vector<attention::SupportTile>& tiles,
                             MethodData& data, const JobContext& job) {
  const attention::LayerQuery& query = prepared.query();
  const auto layer = static_cast<std::size_t>(query.layer);
  record::MethodSummary& summary = data.summary;
  attention::AnalysisOptions wanted;
  wanted.scope = summary.scope;
  wanted.budget_tokens = budget_of(query.layer, summary);
  wanted.forced = forced_;
  wanted.thumbnail_size = thumbnail_size;
  wanted.thumbnails = keep_maps_;
  const bool maps = wanted.bitmaps = keeps_maps_of(query.layer);
  wanted.packed = store_.has_room(query.q.device(), 3 * length() * ((length() + 7) / 8));
  if (maps) {
    const auto levels = record::pyramid_levels(
        length(), {"full", query.num_q_heads(), query.num_kv_heads(), query.head_dim(), 0, 0});
    if (levels.heads < 0 || levels.heads >= kernels::cuda::record_least_cell) {
      wanted.mean_level = levels.mean;
      wanted.head_level = levels.heads;
    }
  }
  auto analysis = prepared.analyse(tiles, wanted, job);
  const std::int64_t heads = query.num_q_heads() + 1;
  if (!summary.is_dense() &&
      tiles.empty()) {  // listed as dense: nothing was selected, so nothing was captured or missed
    constexpr auto captured = static_cast<std::size_t>(attention::HeadStatistic::captured_mass);
    for (std::size_t head = 0; head < analysis.statistics.size(); head += attention::num_head_statistics)
      std::fill(analysis.statistics.begin() + static_cast<std::ptrdiff_t>(head + captured),
                analysis.statistics.begin() + static_cast<std::ptrdiff_t>(head + attention::num_head_statistics),
                no_figure);
  }
  place_heads(analysis.statistics, heads, query.layer, data.statistics.heads, attention::num_head_statistics,
              data.statistics.values);
  place_heads(analysis.curves, heads, query.layer, data.curves.heads, 3 * std::ssize(data.curves.budgets),
              data.curves.values);
  // A layer that is dense by the list selects nothing: there is nothing to capture and nothing to recall.
  if (summary.is_dense() || !tiles.empty()) summary.captured_mass_per_layer[layer] = analysis.captured_mass_mean;
  if (analysis.oracle_recall) summary.oracle_recall_per_layer[layer] = *analysis.oracle_recall;
  if (analysis.oracle_recall_95) recalls_95_.push_back(*analysis.oracle_recall_95);
  attended_pairs_ += analysis.attended_pairs;
  data.mass_received[layer] = std::move(analysis.mass_received);
  data.selection_frequency[layer] = std::move(analysis.selection_frequency);
  if (!keep_maps_) return;
  if (!analysis.thumbnail_max.empty())
    store_.put_thumbnails(summary.id, query.layer, analysis.thumbnail_max, analysis.thumbnail_mean);
  if (!maps) return;
  store_.put_stream(summary.id, query.layer, query, analysis.lse);
  store_.put_planes(summary.id, query.layer, analysis.planes);
  if (!analysis.support.empty() || analysis.packed.defined())
    store_.put_supports(summary.id, query.layer, analysis.captured_mass_mean, analysis);
}

std::int64_t RecordedPass::budget_of(int layer, const record::MethodSummary& summary) const {
  if (!layer_budgets_) return summary.budget_tokens;
  const auto found = layer_budgets_->keys.find(layer);
  return found == layer_budgets_->keys.end() ? summary.budget_tokens : std::min(found->second, length());
}

void RecordedPass::compare_hidden(int layer, const at::Tensor& hidden, record::MethodSummary& summary) const {
  const at::Tensor reference = store_.hidden(layer);
  if (!reference.defined() || summary.output_l2_per_layer.empty()) return;
  const auto dense = reference.to(hidden.device(), at::kFloat);
  const at::Tensor difference = hidden.to(at::kFloat).sub(dense);
  const auto at = static_cast<std::size_t>(layer);
  const double norm = dense.norm().item<double>();
  if (norm > 0) summary.output_frobenius_per_layer[at] = difference.norm().item<double>() / norm;
  // Rows whose whole history is in the support say nothing of the method.
  const std::int64_t first = std::max<std::int64_t>(1, budget_of(layer, summary)), rows = length() - first;
  if (rows <= 0) return;
  const at::Tensor norms = dense.narrow(0, first, rows).norm(2, 1);
  summary.output_l2_per_layer[at] =
      difference.narrow(0, first, rows).norm(2, 1).div_(norms.clamp_min_(1e-30)).mean().item<double>();
}

void RecordedPass::finish(record::MethodSummary& summary) const {
  summary.captured_mass_mean = mean(summary.captured_mass_per_layer);
  summary.captured_mass_min = smallest(summary.captured_mass_per_layer);
  if (summary.is_dense()) {
    summary.density = 1;
    return;
  }
  if (const double recall = mean(summary.oracle_recall_per_layer); !std::isnan(recall))
    summary.oracle_recall_mean = recall;
  if (!recalls_95_.empty()) summary.oracle_recall_95_mean = mean(recalls_95_);
  summary.density = attended_pairs_ / (causal_pairs(length()) * static_cast<double>(config_.full_layers()));
}

}  // namespace headroom::experiment
