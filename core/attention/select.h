// SPDX-License-Identifier: Apache-2.0
// From scores to supports, for a run of neighbouring rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "attention/sparse_prefill.h"

namespace headroom::attention {

/// Where a row stands: rows [row_begin, row_end) see keys [0, row_end); `budget_tokens` is 0 for mass budgets.
struct RowRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t budget_tokens = 0;
  std::int64_t size() const { return end - begin; }
};

/// CPU, threads over rows. `scores`: one fp32 tensor [tile, tile end] for each `tile_rows` rows of the range (blocks
/// do not straddle tiles); overwritten. Indices [rows, K] int32 ascending, -1 behind each row's count.
SupportTile select_cpu(std::vector<at::Tensor>& scores, std::int64_t tile_rows, const RowRange& rows,
                       const SelectionRule& rule);

/// Replaces rows [rows, columns) of a tile that begins at position `row_begin` by the sums that their blocks of
/// `granularity` rows share; entries with key > row do not count.
void share_block_scores(float* scores, std::int64_t row_begin, std::int64_t rows, std::int64_t columns,
                        std::int64_t granularity);

/// Any device, LibTorch operators: [rows, row_end] bool, true where the row attends.
at::Tensor select_mask(const at::Tensor& scores, const RowRange& rows, const SelectionRule& rule);
/// The same support as sorted indices.
SupportTile tile_from_mask(const at::Tensor& mask, std::int64_t row_begin);

/// The whole history of each row as a support.
SupportTile whole_history(const RowRange& rows, c10::Device device);

}  // namespace headroom::attention
