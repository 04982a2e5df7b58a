// SPDX-License-Identifier: Apache-2.0
// Budgets for each layer from the mass curves of dense attention: the smallest that keeps a chosen mass, and a total
// shared out greedily. Both are computed from mass alone ("mass recall"), nothing of them is measured by a task.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "record/sweep/sweep_summary.h"
#include "record/sweep/sweep_types.h"

namespace headroom::record {

struct LayerBudget {
  int layer = 0;
  std::int64_t keys = 0;
  double mass = 0;  ///< that these keys hold by the mean curve
};

struct SweepPlan {
  std::int64_t length = 0, tokens = 0;  ///< asked for, and of the longest prompt behind the curves
  std::int64_t samples = 0;             ///< curves
  bool held_out = false;                ///< they come from calibration samples, which are never scored
  double mass = 0.95;
  std::vector<LayerBudget> by_mass;          ///< each layer's smallest budget that keeps `mass`
  std::int64_t keys = 0;                     ///< a layer, in the mean, that the greedy allocation shares out
  std::vector<LayerBudget> greedy;           ///< the same total, where it keeps most
  double uniform_mass = 0, greedy_mass = 0;  ///< means over the layers at that total
};

/// The mean of the mass curves at one length, over samples and layers, and the layer that keeps least. Computed from
/// dense attention's mass, none forced: what the best k keys hold, whatever a method chooses.
struct LengthRecall {
  std::int64_t length = 0, tokens = 0, samples = 0;  ///< as in SweepPlan
  bool held_out = false;
  std::vector<std::int64_t> budgets;  ///< ascending
  std::vector<double> mean, worst;
  std::vector<int> worst_layer;
};
struct MassRecall {
  std::vector<LengthRecall> lengths;  ///< of those that the sweep holds curves of
  const LengthRecall* at(std::int64_t length) const;
};
MassRecall mass_recall(const SweepRecord& record);
/// The layer that keeps least with `keys` in each, or with its own of `by_layer` where that is not empty; none where
/// there are no curves at that length.
std::optional<LayerBudget> worst_layer_at(const SweepRecord& record, std::int64_t length, std::int64_t keys,
                                          const std::map<int, std::int64_t>& by_layer = {});

struct PlanRequest {
  std::optional<std::int64_t> length;  ///< none: the sweep's only or longest one
  double mass = 0.95;
  std::optional<std::int64_t> keys;  ///< a layer in the mean; none: as many as by_mass takes
};

/// Throws usage errors (a length that is not there, mass outside 0 … 1, too few keys) and input errors (no curves: the
/// sweep was made without calibration samples).
SweepPlan plan_budgets(const SweepRecord& record, const PlanRequest& request);

/// budget.json: {kind, model, model_sha256, indexer_sha256, length, mass, layers: [{layer, budget, mass}], greedy,
/// dense_layers, evidence: …}; `source`: the sweep's file name.
nlohmann::json to_json(const SweepRecord& record, const SweepSummary& summary, const SweepPlan& plan,
                       const std::string& source);

}  // namespace headroom::record
