// SPDX-License-Identifier: Apache-2.0
#include "record/sweep/sweep_plan.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_fields.h"
#include "base/layer_budgets.h"

namespace headroom::record {
namespace {

using nlohmann::json;

constexpr std::int64_t least_keys = 16;  // of a layer in the greedy allocation: some sinks and some neighbours

/// The mean of several samples' curves of one layer, at any budget: linear between the budgets that were measured,
/// which is below the true curve wherever that is concave.
class MeanCurve {
 public:
  MeanCurve(const std::vector<const SweepCurves*>& samples, int layer) : samples_(samples), layer_(layer) {}

  double at(std::int64_t keys) const {
    double sum = 0;
    for (const SweepCurves* sample : samples_) sum += at(*sample, keys);
    return sum / static_cast<double>(samples_.size());
  }
  bool known() const { return !std::isnan(samples_.front()->at(layer_, 0, 0)); }

 private:
  double at(const SweepCurves& curve, std::int64_t keys) const {
    const auto value = [&](std::size_t i) {
      const float mass = curve.at(layer_, 0, i);
      return std::isnan(mass) ? 1.0 : static_cast<double>(mass);  // no row has a longer history: everything is kept
    };
    const auto next = std::lower_bound(curve.budgets.begin(), curve.budgets.end(), keys);
    if (next == curve.budgets.end()) return 1;
    const auto high = static_cast<std::size_t>(next - curve.budgets.begin());
    if (*next == keys || high == 0) return value(high);
    const double begin = static_cast<double>(curve.budgets[high - 1]), end = static_cast<double>(*next);
    return value(high - 1) + (value(high) - value(high - 1)) * (static_cast<double>(keys) - begin) / (end - begin);
  }

  const std::vector<const SweepCurves*>& samples_;
  int layer_;
};

/// Gives keys to the layer where they keep most mass a key, up to one of the budgets that were measured, or the last
/// keys that are left. A curve that is flat for a while and rises later is looked at as far as it rises best.
void allocate(SweepPlan& plan, const std::vector<const SweepCurves*>& samples, const std::vector<int>& layers) {
  const std::int64_t first = std::min(least_keys, plan.keys);
  std::vector<std::int64_t> keys(layers.size(), first), steps;
  for (const SweepCurves* sample : samples) steps.insert(steps.end(), sample->budgets.begin(), sample->budgets.end());
  std::sort(steps.begin(), steps.end());
  steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
  std::int64_t left = (plan.keys - first) * std::ssize(layers);
  while (left > 0) {
    double best = 0;
    std::size_t best_layer = layers.size();
    std::int64_t best_keys = 0;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const MeanCurve curve(samples, layers[i]);
      const double now = curve.at(keys[i]);
      const auto look_at = [&](std::int64_t wanted) {
        const double rate = (curve.at(wanted) - now) / static_cast<double>(wanted - keys[i]);
        if (rate > best) best = rate, best_layer = i, best_keys = wanted;
      };
      for (const std::int64_t step : steps)
        if (step > keys[i] && step - keys[i] < left) look_at(step);
      look_at(std::min(keys[i] + left, std::max(keys[i] + 1, plan.tokens)));
    }
    if (best_layer == layers.size()) break;  // everything is kept
    left -= best_keys - keys[best_layer];
    keys[best_layer] = best_keys;
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const MeanCurve curve(samples, layers[i]);
    plan.greedy.push_back({layers[i], keys[i], curve.at(keys[i])});
    plan.greedy_mass += plan.greedy.back().mass / static_cast<double>(layers.size());
    plan.uniform_mass += curve.at(plan.keys) / static_cast<double>(layers.size());
  }
}

std::vector<const SweepCurves*> curves_at(const SweepRecord& record, std::int64_t length) {
  std::vector<const SweepCurves*> samples;
  for (const SweepCurves& curves : record.curves)
    if (curves.sample.length == length && !curves.budgets.empty()) samples.push_back(&curves);
  return samples;
}

/// Full layers that are not listed as dense and have curves.
std::vector<int> planned_layers(const SweepMeta& meta, const std::vector<const SweepCurves*>& samples) {
  std::vector<int> layers;
  for (int layer = 0; layer < meta.num_layers(); ++layer) {
    const bool listed = std::find(meta.dense_layers.begin(), meta.dense_layers.end(), layer) != meta.dense_layers.end();
    if (meta.layers[static_cast<std::size_t>(layer)].is_full() && !listed && MeanCurve(samples, layer).known())
      layers.push_back(layer);
  }
  return layers;
}

json layer_list(const std::vector<LayerBudget>& budgets) {
  json list = json::array();
  for (const LayerBudget& one : budgets)
    list.push_back({{"layer", one.layer}, {"budget", one.keys}, {"mass", json_number(one.mass)}});
  return list;
}

}  // namespace

const LengthRecall* MassRecall::at(std::int64_t length) const {
  const auto found =
      std::find_if(lengths.begin(), lengths.end(), [&](const auto& one) { return one.length == length; });
  return found == lengths.end() ? nullptr : &*found;
}

MassRecall mass_recall(const SweepRecord& record) {
  MassRecall recall;
  for (const std::int64_t length : record.meta.lengths) {
    const auto samples = curves_at(record, length);
    if (samples.empty()) continue;
    const std::vector<int> layers = planned_layers(record.meta, samples);
    if (layers.empty()) continue;
    LengthRecall one;
    one.length = length;
    one.samples = std::ssize(samples);
    one.held_out = true;
    for (const SweepCurves* curves : samples) {
      one.tokens = std::max(one.tokens, curves->tokens);
      one.held_out = one.held_out && curves->sample.calibration;
    }
    for (const std::int64_t budget : samples.front()->budgets) {
      if (budget >= one.tokens) break;  // no row has a longer history
      double sum = 0, least = 2;
      int least_layer = layers.front();
      for (const int layer : layers) {
        const double mass = MeanCurve(samples, layer).at(budget);
        sum += mass;
        if (mass < least) least = mass, least_layer = layer;
      }
      one.budgets.push_back(budget);
      one.mean.push_back(sum / static_cast<double>(layers.size()));
      one.worst.push_back(least);
      one.worst_layer.push_back(least_layer);
    }
    recall.lengths.push_back(std::move(one));
  }
  return recall;
}

std::optional<LayerBudget> worst_layer_at(const SweepRecord& record, std::int64_t length, std::int64_t keys,
                                          const std::map<int, std::int64_t>& by_layer) {
  const auto samples = curves_at(record, length);
  std::optional<LayerBudget> worst;
  if (samples.empty()) return worst;
  for (const int layer : planned_layers(record.meta, samples)) {
    const auto own = by_layer.find(layer);
    const std::int64_t count = own == by_layer.end() ? keys : own->second;
    const double mass = MeanCurve(samples, layer).at(count);
    if (!worst || mass < worst->mass) worst = LayerBudget{layer, count, mass};
  }
  return worst;
}

SweepPlan plan_budgets(const SweepRecord& record, const PlanRequest& request) {
  if (!(request.mass > 0 && request.mass < 1))
    throw usage_error("--mass is a share between 0 and 1, e.g. 0.95, not " + json(request.mass).dump());
  if (record.curves.empty())
    throw input_error("the sweep", "holds no mass curves", "a sweep with calibration samples (--calibrate)", "none");
  SweepPlan plan;
  plan.mass = request.mass;
  plan.length = request.length.value_or(*std::max_element(record.meta.lengths.begin(), record.meta.lengths.end()));
  const std::vector<const SweepCurves*> samples = curves_at(record, plan.length);
  plan.held_out = true;
  for (const SweepCurves* curves : samples) {
    plan.tokens = std::max(plan.tokens, curves->tokens);
    plan.held_out = plan.held_out && curves->sample.calibration;
  }
  if (samples.empty()) throw usage_error("the sweep has no mass curves at " + std::to_string(plan.length) + " tokens");
  plan.samples = std::ssize(samples);
  const std::vector<int> layers = planned_layers(record.meta, samples);
  if (layers.empty()) throw input_error("the sweep", "has no layer whose budget could be chosen");
  std::int64_t sum = 0;
  for (const int layer : layers) {
    const MeanCurve curve(samples, layer);
    std::int64_t low = 0, high = plan.tokens;  // curve(high) is enough
    while (high - low > 1) {
      const std::int64_t middle = low + (high - low) / 2;
      (curve.at(middle) >= plan.mass ? high : low) = middle;
    }
    plan.by_mass.push_back({layer, high, curve.at(high)});
    sum += high;
  }
  plan.keys = request.keys.value_or((sum + std::ssize(layers) - 1) / std::ssize(layers));
  if (plan.keys < 1 || plan.keys > plan.tokens)
    throw usage_error("--keys is 1 to " + std::to_string(plan.tokens) + " keys a layer, not " +
                      std::to_string(plan.keys));
  allocate(plan, samples, layers);
  return plan;
}

json to_json(const SweepRecord& record, const SweepSummary& summary, const SweepPlan& plan, const std::string& source) {
  const SweepMeta& meta = record.meta;
  json measured = json::array();
  for (const SweepCell& cell : summary.cells) {
    if (cell.scope != SweepScope::macro || cell.length != plan.length || meta.methods[cell.method].is_dense()) continue;
    const auto& interval = cell.difference.interval;
    measured.push_back({{"method", meta.methods[cell.method].id},
                        {"density", cell.density},
                        {"pairs", cell.difference.pairs},
                        {"difference_from_dense", json_number(cell.difference.mean)},
                        {"interval_95", interval ? json{interval->low, interval->high} : json(nullptr)},
                        {"verdict", verdict_names[static_cast<std::size_t>(cell.verdict)]}});
  }
  return {{"kind", layer_budgets_kind},
          {"version", 1},
          {"model", meta.model_name},
          {"model_sha256", meta.model_sha256},
          {"indexer_sha256", meta.indexer_sha256.empty() ? json(nullptr) : json(meta.indexer_sha256)},
          {"length", plan.length},
          {"mass", plan.mass},
          {"layers", layer_list(plan.by_mass)},
          {"greedy",
           {{"keys_per_layer", plan.keys},
            {"layers", layer_list(plan.greedy)},
            {"mass", json_number(plan.greedy_mass)},
            {"uniform_mass", json_number(plan.uniform_mass)}}},
          {"dense_layers", meta.dense_layers},
          {"evidence",
           {{"sweep", source},
            {"curves",
             {{"samples", plan.samples},
              {"held_out", plan.held_out},
              {"longest_prompt", plan.tokens},
              {"source", "mass of dense attention; nothing measured by a task"}}},
            {"margin", summary.margin},
            {"measured_with_one_budget_for_all_layers", measured},
            {"tasks", macro_note(meta, summary, plan.length)}}}};
}

}  // namespace headroom::record
