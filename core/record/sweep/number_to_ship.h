// SPDX-License-Identifier: Apache-2.0
// "The smallest k whose method keeps at least X and whose worst layer keeps at least Y": from a sweep as a result with
// its interval, from open runs as an indication. The window and nothing else says what follows from it.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "record/speedup.h"
#include "record/sweep/sweep_plan.h"
#include "record/sweep/sweep_summary.h"
#include "record/types.h"

namespace headroom::record {

struct ShipTarget {
  double keep = 0.95;         ///< a sweep: of dense's task score (without scores: of its answers, word for word);
                              ///< runs: of the mass, mean over the layers
  double worst_layer = 0.90;  ///< of the mass, in the layer that keeps least
};

/// One budget of a method, at one scope and length of a sweep.
struct SweepShipBudget {
  std::size_t cell = 0;  ///< in SweepSummary::cells
  double kept = 0;       ///< share of dense's score, or of answers that are dense's
  /// What the best keys hold in the worst layer, from the mass curves: an upper bound of any method's. None where the
  /// sweep holds no curves, and for mass budgets.
  std::optional<LayerBudget> worst;
  /// What the method's own keys held in its worst layer, where a run says so: it decides in the bound's place.
  std::optional<LayerBudget> own_worst;
  bool keeps = false, worst_keeps = false;
  bool meets() const { return keeps && worst_keeps; }
};
struct SweepShip {
  bool scored = false;                   ///< kept is of scores
  std::vector<SweepShipBudget> budgets;  ///< by rising density
  std::optional<std::size_t> chosen;     ///< the smallest that meets the target, as do all larger ones
};
/// What a method, by index in the sweep's, keeps with its own keys in its worst layer; none where that is not known.
using OwnWorstLayer = std::function<std::optional<LayerBudget>(std::size_t method)>;
/// The worst layer of a run's method by the mass that it captured; none where the record does not say.
std::optional<LayerBudget> worst_layer_of(const MethodSummary& method);
/// `methods`: of one family, budgets apart, by index in the sweep's methods. Budgets that were not run are not guessed.
SweepShip number_to_ship(const SweepRecord& record, const SweepSummary& summary, SweepScope scope, std::size_t task,
                         std::int64_t length, const std::vector<std::size_t>& methods, const ShipTarget& target,
                         const OwnWorstLayer& own_worst = {});

/// One prompt of several: an open run. Pointers must outlive the answer.
struct ShipPrompt {
  const std::vector<MethodSummary>* methods = nullptr;
  std::int64_t tokens = 0;
  bool timed_in_turn = false;
  std::vector<double> budgets, mean, worst;  ///< dense's mass curve over all full layers; empty: none is recorded
};
struct RunShipCell {
  const MethodSummary* method = nullptr;  ///< null: this prompt was not run at the budget
  std::optional<Speedup> speedup;         ///< over dense of the same run
  bool keeps = false, worst_keeps = false;
};
struct RunShipBudget {
  Budget budget;
  std::vector<RunShipCell> prompts;  ///< as given
  std::int64_t run = 0;              ///< prompts that were run at it
  double density = 0;                ///< mean over those
  bool meets = false;                ///< every prompt was run at it and keeps what is asked for
};
struct RunShip {
  std::vector<RunShipBudget> budgets;  ///< by rising density
  std::optional<std::size_t> chosen;
  /// Smallest k at which the best keys keep what is asked for, over all prompts, by the curves alone; none where one
  /// has no curves or never gets there.
  std::optional<std::int64_t> bound;
};
/// `matches`: whether a method is of the family that is asked about.
RunShip number_to_ship(const std::vector<ShipPrompt>& prompts, const ShipTarget& target,
                       const std::function<bool(const MethodSummary&)>& matches);

/// budget.json from the mass curves of runs: the same form as the sweep's, without measured evidence.
struct RunBudgets {
  std::string model, model_sha256, indexer_sha256;
  std::vector<LayerBudget> layers;
  std::vector<int> dense_layers;
  std::int64_t length = 0;  ///< tokens of the longest prompt
  double mass = 0.95;
  std::vector<std::string> sources;  ///< record files
};
nlohmann::json to_json(const RunBudgets& budgets);

}  // namespace headroom::record
