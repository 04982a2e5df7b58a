// SPDX-License-Identifier: Apache-2.0
// What a recorded pass measures in one full layer: head statistics, mass curves, captured mass, oracle recall, overlay
// classes and thumbnails. One sweep over row tiles; nothing L x L but bitmaps. Never part of a timed pass.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "attention/layer_query.h"
#include "attention/policy.h"
#include "base/method.h"
#include "base/progress.h"
#include "base/support_bitmap.h"

namespace headroom::attention {

/// Per-head statistics; the order of LayerAnalysis::statistics.
enum class HeadStatistic {
  entropy,      ///< nats, mean over rows
  keys_for_90,  ///< fewest keys that hold 90 % of the head's own probability, mean over rows
  keys_for_95,
  keys_for_99,
  sink_mass,       ///< on the first 4 positions, mean over rows
  local_mass,      ///< on the last 64 positions up to the query, mean over rows
  learned_sink,    ///< what the layer's learned sinks take: 1 less the sum over keys, mean over rows; NaN without them
  captured_mass,   ///< of the head's own probabilities by its support, mean over rows with history > k
  missed_mass,     ///< of the keys in T that are not in the support (T - S), mean over the same rows
  uncaptured_mass  ///< of keys outside the support: 1 - captured_mass, less what a learned sink takes
};
inline constexpr std::size_t num_head_statistics = 10;
inline constexpr std::array<std::string_view, num_head_statistics> head_statistic_names = {
    "entropy",    "keys_for_90",  "keys_for_95",   "keys_for_99", "sink_mass",
    "local_mass", "learned_sink", "captured_mass", "missed_mass", "uncaptured_mass"};

/// At most 64 budgets from 1 to `length`, log-spaced, rounded, ascending, each once.
inline constexpr std::int64_t most_curve_budgets = 64;
std::vector<std::int64_t> curve_budgets(std::int64_t length);

struct AnalysisOptions {
  SupportScope scope = SupportScope::layer;  ///< whose supports the bitmaps are
  std::int64_t budget_tokens = 0;            ///< k that T and recall use; 0 for dense and mass budgets
  ForcedKeys forced;                         ///< that T holds, as the support does
  std::int64_t thumbnail_size = 128;
  bool thumbnails = true;
  bool bitmaps = true;  ///< false: a device need not make S, T and wasted
  bool packed = false;  ///< a device leaves them where they are: LayerAnalysis::packed
  /// First levels of the stored tiles that a device makes beside the rest (record::PyramidLevels); -1: none.
  int mean_level = -1, head_level = -1;
};

/// What stored tiles are made of, at their first levels: cells of 2^level x 2^level pairs, c a side; nothing where no
/// causal pair lies. On any device; undefined where not asked for, or where the layer has no support.
struct CellPlanes {
  at::Tensor max, sum, missed_mass;        ///< fp32 [Hq, c, c] largest p, sums of p, sums over T - S
  at::Tensor m_max, m_sum, m_missed_mass;  ///< fp32 [c, c] of m
  at::Tensor hit, missed, wasted, selected;  ///< int32 [c, c] pairs; cells of m's level
};

/// Everything below is about one stream: the true mass is that of this stream's own q and k.
struct LayerAnalysis {
  std::vector<float> statistics;  ///< [Hq + 1, num_head_statistics]; the last row is the head mean (mass m)
  /// [Hq + 1, 3 (mean, p10, min), curve_budgets(L)]: share captured by the k keys of most m, none forced; last = m.
  std::vector<float> curves;
  /// Of m by the support, over rows with history > k; where supports differ by head, mean over heads of what each head's
  /// own support captures of its own probabilities. 1 for dense; NaN where no row has such a history.
  double captured_mass_mean = 1;
  double captured_mass_min = 1;
  /// |S ∩ T| / |T|, mean over head groups and rows with history > k; none for dense and where there is no such row.
  std::optional<double> oracle_recall;
  /// Of the fewest keys that hold 95 % of a group's mass: how many are in S, as a share of how many are in T. 1 for the
  /// oracle, whatever the budget. Rows whose T holds none of them do not count.
  std::optional<double> oracle_recall_95;
  double attended_pairs = 0;               ///< causal pairs in the support, mean over head groups
  std::vector<float> mass_received;        ///< [Hq + 1, L] column sums of p (last: of m), divided by L - s
  std::vector<float> selection_frequency;  ///< [G, L] share of the rows t >= s whose support holds s; empty for dense
  std::vector<float> lse;                  ///< [Hq, L] log-sum-exp of scale * q.k, causal, from the stored q and k
  std::vector<float> thumbnail_max;        ///< [Hq + 1, T, T] largest p in the cell (last: m); 0 above the diagonal
  std::vector<float> thumbnail_mean;       ///< [Hq + 1, T, T] mean p over the cell's causal pairs
  std::vector<SupportBitmap> support;      ///< [G] S; empty for dense
  std::vector<SupportBitmap> target;       ///< [G] T: top-k of the group's mass (of m for the layer); empty for dense
  std::vector<SupportBitmap> wasted;       ///< [G] in S, not in T, and the mass < 0.1 / history; empty for dense
  CellPlanes planes;                       ///< of analyses on a device; analyse_layer() makes none
  at::Tensor packed;                       ///< bytes [3, L, row bytes] of the three bitmaps, in their place
};

/// `support` is what the policy's sink collected: a bitmap for each head group of options.scope (none for dense). T holds
/// the forced keys, as every support does, so the oracle's own recall is 1; without a budget in tokens (mass budgets)
/// each row's T is as large as its support, and the rows that count are those whose support is smaller than their
/// history. Entropy, keys for a share, sink mass (the first 4 positions) and local mass (the last 64) are means over all
/// rows. Curves: means and minima over the rows with history > budget, NaN where there are none (budget L); p10 of
/// prompts beyond 16384 tokens is taken over evenly spaced rows. Cell (i, j) of a thumbnail covers ceil(L / T) x
/// ceil(L / T) pairs. Runs on the CPU in fp32 whatever the query's device, since nothing of it is timed; results do not
/// depend on the number of threads.
LayerAnalysis analyse_layer(const LayerQuery& query, std::vector<SupportBitmap> support,
                            const AnalysisOptions& options, const JobContext& job);

}  // namespace headroom::attention
