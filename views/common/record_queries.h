// SPDX-License-Identifier: GPL-3.0-or-later
// Small questions that several pages ask of a record: which methods to show at a budget, densities, mass recall.
#pragma once

#include <QString>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "views/common/selection.h"

namespace headroom::views {

using MethodPtr = const record::MethodSummary*;

/// "full attention", "sliding attention, 512 keys", "linear attention": what a layer is.
QString layer_text(const record::LayerMeta& layer);
/// Why a layer that is not full has no map and no numbers, in two or three sentences.
QString unsparsified_text(int layer, const record::LayerMeta& sizes);

/// The method whose role is dense; null where the record holds none.
MethodPtr dense_of(const record::RunRecord& record);
/// The state's baseline, else the dense method, else null.
MethodPtr baseline_of(const record::RunRecord& record, const ViewState& state);
/// One sparse method of each policy and setting (name and parameters) in the record's order: the chosen one
/// (`state.method`), else the one whose budget lies nearest to the slider (in ratio), smaller granularity first.
std::vector<MethodPtr> methods_near_budget(const record::RunRecord& record, const ViewState& state);
/// The budgets that sparse methods of the record were run at: by keys a row, then mass budgets.
std::vector<Budget> budgets_of(const record::RunRecord& record);
/// The one budget that is looked at: the chosen method's, else the one nearest to the slider; none where nothing sparse
/// ran.
std::optional<Budget> shown_budget(const record::RunRecord& record, const ViewState& state);
/// At shown_budget(), one sparse method of each policy and setting: the chosen one, else the smallest granularity.
std::vector<MethodPtr> methods_at_budget(const record::RunRecord& record, const ViewState& state);
/// "512 keys", "10 % of the prompt", "95 % of the mass".
QString budget_text(const Budget& budget);
/// Same model (by hash, else by name) and the same token ids: numbers of the two may stand in one plot.
bool same_prompt(const record::RunRecord& a, const record::RunRecord& b);
/// Budget of a method in keys a row for this prompt; nullopt for dense and mass budgets.
std::optional<double> budget_keys(const record::MethodSummary& method);

/// How many full layers the timed passes ran dense (docs/record.md, "timing_plan").
struct PlanCounts {
  std::int64_t dense = 0, full = 0;
  bool timing_only = false;  ///< the recorded pass ran more layers sparse: times and quality are not of one plan
};
/// nullopt for records of versions without plans.
std::optional<PlanCounts> plan_counts(const record::MethodSummary& method);
/// The timed passes of a sparse method ran dense in every layer: they say nothing of a speedup.
bool nothing_sparse_ran(const record::MethodSummary& method);
/// "6 of 30 layers dense", "dense in all 30 layers"; empty where the method ran as defined and sparse throughout.
QString plan_counts_text(const record::MethodSummary& method);

/// "0.0031 nats over 16 positions", or "… at the last position" in records that know no other; empty for dense.
QString kl_text(const record::MethodSummary& method);
/// "0.013 nats, 6 of 7 tokens likeliest": the task's answer inside the sparse pass; empty where there is none.
QString reference_answer_text(const record::MethodSummary& method);

/// Causal pairs attended / all causal pairs where each row of a prompt of `length` tokens keeps min(history, k) keys.
double density_of(std::int64_t length, double budget);
/// The k whose density_of() is `density`.
double budget_of_density(std::int64_t length, double density);

/// Mass-recall curves of one stream reduced to what the Budget page draws, for one layer or all full layers.
struct RecallCurves {
  std::vector<double> budgets;     ///< ascending, no repeats
  std::vector<double> mean;        ///< head-averaged mass, mean over rows (and layers)
  std::vector<double> p10;         ///< 10th percentile over rows; all layers: the worst layer's
  std::vector<double> low;         ///< one layer: worst row; all layers: worst layer's mean
  std::vector<double> worst_head;  ///< smallest head mean
  bool empty() const { return budgets.empty(); }
};
/// layer = -1: all full layers.
RecallCurves recall_curves(const record::RunRecord& record, const record::MassCurves& curves, int layer);
/// Value at `budget`, straight in log k between stored budgets, the ends held.
double interpolate(const std::vector<double>& budgets, const std::vector<double>& values, double budget);
/// Smallest stored-curve budget (interpolated, rounded up to a whole key) whose value reaches `target`; nullopt where
/// even the whole prompt does not.
std::optional<double> budget_for(const std::vector<double>& budgets, const std::vector<double>& values, double target);
/// Where the curve bends: largest distance above the chord, in log k.
std::optional<double> knee(const std::vector<double>& budgets, const std::vector<double>& values);

/// Suggested budget of one full layer for a target mass recall.
struct LayerBudget {
  int layer = 0;
  double budget = 0;  ///< keys
  double density = 1;
  double worst_head = 0;  ///< its smallest head mean at that budget
  bool reached = true;
};
std::vector<LayerBudget> suggested_budgets(const record::RunRecord& record, const record::MassCurves& curves,
                                           double target);

}  // namespace headroom::views
