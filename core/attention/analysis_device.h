// SPDX-License-Identifier: Apache-2.0
// A layer's analysis where its tensors are: chunks of rows of all heads, by LibTorch's products and the kernels of
// core/kernels/cuda/record. analyse_layer() (analysis.h), on the CPU, says what every figure means.
#pragma once

#include <vector>

#include "attention/analysis.h"
#include "attention/layer_query.h"
#include "attention/support.h"
#include "base/progress.h"
#include "kernels/cuda/cuda_kernels.h"

namespace headroom::attention {

/// Supports of the whole layer or none, budgets in tokens, no sinks: what analyse_on_device() takes.
bool device_analyses(const LayerQuery& query, const std::vector<SupportTile>& tiles, const AnalysisOptions& options);

/// Shorter prompts are left to the host, which has them at once: keys of one bin share a place, and among few rows that
/// shows (a mean of 33 rows was off by twice what is tolerated).
inline constexpr std::int64_t device_analysis_least_length = 128;

/// The figures of analyse_layer() and, where they are asked for, planes of stored tiles. Keys are not sorted: those
/// whose probabilities lie within 0.8 % of each other share a place, so that keys for a share and curves differ from
/// analyse_layer()'s by up to that part of one such bin (test_analysis_device has the tolerances); T is exact for the
/// mass as it is computed here. Takes (Hq + 1) x rows x L fp32 at a time, 512 MB or what 128 rows need. A table without
/// top_k chooses T by tensor operators. Any device whose pointers the table takes; the same bits on repeat.
/// `rows`: of a chunk, made up to whole cells; 0: device_analysis_rows().
LayerAnalysis analyse_on_device(const LayerQuery& query, const std::vector<SupportTile>& tiles,
                                const AnalysisOptions& options, const kernels::cuda::KernelTable& kernels,
                                const JobContext& job, std::int64_t rows = 0);

/// Rows of one chunk.
std::int64_t device_analysis_rows(std::int64_t length, std::int64_t num_q_heads);
/// The most bytes that analyse_on_device() has on the device at one time.
std::int64_t device_analysis_bytes(std::int64_t length, std::int64_t num_q_heads, std::int64_t num_kv_heads,
                                   std::int64_t head_dim, int mean_level, int head_level, bool supports);

}  // namespace headroom::attention
