// SPDX-License-Identifier: Apache-2.0
// One block of rows of a layer's analysis: what is summed over rows stays in the block, what belongs to a row goes
// straight to its place. Blocks are joined in order, so figures do not depend on threads.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "attention/analysis.h"
#include "attention/head_rows.h"
#include "kernels/cpu/select/top_k.h"

namespace headroom::attention {

/// Sums over the rows of one block; heads = Hq + 1, the last one is the mean over heads (mass m).
struct BlockSums {
  std::vector<double> statistics;   ///< [heads, num_head_statistics]
  std::vector<double> curve_sums;   ///< [heads, budgets] over rows with history > budget
  std::vector<float> curve_minima;  ///< [heads, budgets]
  double captured_sum = 0, captured_min = 1, recall_sum = 0, recall_95_sum = 0;
  std::int64_t long_rows = 0;       ///< rows with history > k
  std::int64_t recall_95_rows = 0;  ///< of them those whose T holds some of the keys of 95 % of the mass
  double attended_pairs = 0;   ///< mean over head groups
  std::vector<float> column_sums;           ///< [heads, block end]
  std::vector<std::int32_t> column_counts;  ///< [groups, block end] rows whose support holds the key
};

/// Where all blocks write: shared, but each row (and each thumbnail row) by one block alone.
struct AnalysisTargets {
  LayerAnalysis* result = nullptr;
  std::vector<std::int64_t> budgets;  ///< curve_budgets(L)
  std::vector<float> curve_values;    ///< [heads, budgets, ceil(L / curve_step)], for the percentile
  std::int64_t curve_step = 1;        ///< every n-th row is kept for the percentile
  std::int64_t curve_rows = 0;        ///< ceil(L / curve_step)
  std::int64_t cell = 1;              ///< pairs a side of a thumbnail cell
};

/// How one head group's support of a row does.
struct GroupScore {
  std::int64_t keys = 0;      ///< in the support
  bool is_long = false;       ///< history > k: the figures below count
  double recall = 1;
  std::optional<double> recall_95;  ///< none where T holds none of the keys of 95 % of the mass
};

/// Analyses rows [begin, end), a whole number of thumbnail cells unless they are the last.
class BlockAnalysis {
 public:
  BlockAnalysis(const HeadRows& rows, const AnalysisOptions& options, AnalysisTargets& targets, const JobContext& job);
  BlockSums run(std::int64_t begin, std::int64_t end);

 private:
  void analyse_row(std::int64_t row);
  void score_support(std::int64_t row);
  GroupScore score_group(std::int64_t row, std::int64_t group);
  /// Mass of a head group in a row: m for the layer, one head's own p, or the mean over a KV head's heads.
  const float* group_mass(std::int64_t row, std::int64_t group);
  void add_curves(std::int64_t row);
  void add_thumbnails(std::int64_t row);
  void finish_thumbnails(std::int64_t begin, std::int64_t end);
  float* p(std::int64_t head, std::int64_t row) {
    return buffer_.data() + (head * rows_at_once + row - tile_begin_) * stride_;
  }

  static constexpr std::int64_t rows_at_once = 8;
  const HeadRows& rows_;
  const AnalysisOptions& options_;
  AnalysisTargets& targets_;
  const JobContext& job_;
  const std::int64_t length_, heads_, groups_;
  std::int64_t tile_begin_ = 0, stride_ = 0, block_end_ = 0;
  BlockSums sums_;
  std::vector<float> buffer_;  ///< [heads, rows_at_once, stride]
  std::vector<float> lse_, group_mass_;
  std::vector<std::int32_t> order_;         ///< keys of the row by descending m
  std::vector<std::int32_t> group_order_;   ///< by descending mass of a head group
  std::vector<std::int32_t> target_;
  std::vector<double> of_keys_;                      ///< [heads] what a learned sink leaves to the row's keys
  std::vector<std::vector<std::int32_t>> supports_;  ///< [groups] keys of the row
  std::vector<std::vector<std::int32_t>> missed_;    ///< [groups] T - S
  kernels::cpu::SelectScratch scratch_;
};

}  // namespace headroom::attention
