// SPDX-License-Identifier: Apache-2.0
// Our CPU kernels (core/kernels/cpu) on a layer's tensors, with LibTorch's threads.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/backend.h"
#include "kernels/cpu/attention/attention.h"

namespace headroom::attention {

/// What a task of fused scoring and selection spent on each part, summed over its rows; only their ratio counts.
struct SelectorTime {
  std::int64_t score_ns = 0;
  std::int64_t select_ns = 0;
};

/// Scores whose kernel selects from each tile of them while it is in the cache.
class FusedScores : public RowScores {
 public:
  /// Supports of rows [begin, end), at most 128 of them, in whole blocks of the rule's granularity: row r's keys ascend
  /// from indices[r * width] on, counts[r] of them. `width` is the budget in tokens, for mass budgets at least `end`.
  virtual SelectorTime select(const SelectionRule& rule, std::int64_t begin, std::int64_t end, std::int32_t* indices,
                              std::int64_t width, std::int32_t* counts) const = 0;
};

/// Supports of rows [begin, end) from one fp32 tensor [G, rows of the tile, tile end] for each `tile_rows` rows (blocks do
/// not straddle tiles); overwritten. Threads over rows.
SupportTile select_rows(std::vector<at::Tensor>& scores, std::int64_t begin, std::int64_t end, std::int64_t tile_rows,
                        const SelectionRule& rule, std::int64_t tokens, const JobContext& job);

/// Replaces rows [rows, columns) of a tile that begins at position `row_begin` by the sums that their blocks of
/// `granularity` rows share; entries with key > row do not count.
void share_block_scores(float* scores, std::int64_t row_begin, std::int64_t rows, std::int64_t columns,
                        std::int64_t granularity);

/// Selection by mass, fused: mass tiles of `layer` (which must outlive it) from log-sum-exp `lse` [Hq, L] of the rows that
/// are asked for.
std::shared_ptr<const FusedScores> make_mass_scores(const LayerQuery& query,
                                                    const kernels::cpu::AttentionLayer& layer, const at::Tensor& lse);
/// By index scores; `projections` as on the CPU (index_projection.h).
struct IndexProjections;
std::shared_ptr<const FusedScores> make_raw_index_scores(const IndexProjections& projections, const JobContext& job);

}  // namespace headroom::attention
