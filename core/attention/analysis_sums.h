// SPDX-License-Identifier: Apache-2.0
// What the chunks of an analysis on a device (analysis_device.h) add up, and what becomes of it once all rows are in.
// Internal to core/attention.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "attention/analysis.h"

namespace headroom::attention {

/// Tensors on the layer's device; heads = Hq + 1, the last one is the mean over heads.
struct DeviceSums {
  std::int64_t length = 0, q_heads = 0;
  bool sparse = false;
  std::vector<std::int64_t> budgets;         ///< curve_budgets(L)
  std::int64_t curve_step = 1, cell = 1;     ///< as AnalysisTargets (analysis_rows.h)
  at::Tensor lse;                            ///< fp32 [Hq, L]
  at::Tensor statistics;                     ///< fp64 [heads, statistics] sums over rows, captured mass and on apart
  at::Tensor curve_sums, curve_minima;       ///< fp64, fp32 [heads, budgets]
  at::Tensor kept_curves;                    ///< fp32 [heads, rows / curve_step, budgets]; infinite where not counted
  at::Tensor column_sums, column_counts;     ///< fp64 [heads, L], int64 [L] rows whose S holds the key
  at::Tensor thumbnail_max, thumbnail_sum;   ///< fp32, fp64 [heads, T, T]
  at::Tensor row_counts, captured;           ///< fp32 [L, record_counts], [heads, L, 2] by S and of T - S
};

/// Fills everything of `result` but bitmaps and planes. Uses `sums` up.
void finish_device_sums(DeviceSums& sums, const AnalysisOptions& options, LayerAnalysis& result);

}  // namespace headroom::attention
