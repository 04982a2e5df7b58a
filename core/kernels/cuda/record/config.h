// SPDX-License-Identifier: Apache-2.0
// What a record's figures are made of on a device: rows of attention probabilities, a chunk of rows of all heads at a
// time (core/attention/analysis_device.h). Keys are told apart by bins of their probability, 128 an octave (0.8 %):
// keys of the same bin share a place evenly.
#pragma once

#include <cstdint>

namespace headroom::kernels::cuda {

inline constexpr int record_threads = 256;
inline constexpr int record_bins = 4096;  ///< 2^-32 … 1; the lowest holds all below
inline constexpr int record_most_budgets = 64;
inline constexpr int record_figures = 6;     ///< entropy in nats, keys for 90, 95 and 99 %, sink mass, local mass
inline constexpr int record_counts = 5;      ///< |S|, |T|, |T - S|, and of the keys of 95 %: those in S, those in T
inline constexpr int record_stride = 128;    ///< rows of probabilities begin at multiples of so many
inline constexpr int record_least_cell = 4;  ///< log2 of the smallest cell of CurveRowsParams

/// A key of a row: bits of its flags.
inline constexpr std::uint8_t in_support = 1, in_target = 2, is_wasted = 4;

/// Figures of each row's probabilities; of the rows of mass also where curves are cut, and what supports share.
struct RowFiguresParams {
  /// [heads, rows, stride] q.k, or (scale 0) probabilities. Out: probabilities, 0 behind a row's own key.
  float* values = nullptr;
  float* lse = nullptr;     ///< out [heads, lse_head] from its first row on; null where scale is 0
  float* figures = nullptr;                          ///< out [heads, rows, record_figures]
  float *cell_max = nullptr, *cell_sum = nullptr;    ///< out [heads, rows, cells] of `cell` keys each, or null
  std::int64_t head_stride = 0, stride = 0, lse_head = 0;
  std::int64_t row_begin = 0, rows = 0;  ///< row t has t + 1 keys; stride > row_begin + rows - 1
  std::int64_t cell = 0, cells = 0;      ///< cell * cells >= stride where there are any; else cell alone
  std::int32_t heads = 0;
  float scale = 0;
  // Rows of mass alone (heads 1, scale 0); null: none of it.
  const std::int64_t* budgets = nullptr;  ///< ascending
  std::int32_t num_budgets = 0;
  /// Out [rows, stride]: 2 i + 1 in the bin where budget i ends (the first such i), 2 i between those of i - 1 and i.
  std::uint8_t* segments = nullptr;
  std::uint8_t* places = nullptr;  ///< out [rows, num_budgets] the segment in which budget i ends
  float* shares = nullptr;         ///< out [rows, num_budgets] how much of that segment is within the budget
  std::uint8_t* flags = nullptr;   ///< [rows, stride] in_support and in_target; out: is_wasted; null: no support
  float* counts = nullptr;         ///< out [rows, record_counts], with flags
};
inline constexpr std::int64_t row_figures_shared_bytes =
    record_bins * 9 + record_threads / 32 * 8 * 4 + record_most_budgets * 4 + 16 * 4;

/// What the keys of most mass hold of each head's rows, what a support does, and cells of the head's map.
struct CurveRowsParams {
  const float* values = nullptr;  ///< [heads, rows, stride] probabilities
  const std::uint8_t *segments = nullptr, *places = nullptr;
  const float* shares = nullptr;
  const std::uint8_t* flags = nullptr;  ///< null: no support
  float* curves = nullptr;              ///< out [heads, rows, num_budgets]; of budgets below the row's history
  float* captured = nullptr;            ///< out [heads, rows, 2] by S, and of T - S; null without flags
  /// Out [cell_heads, rows, cells] of the first cell_heads heads; cells behind the row are left. Null: none.
  float *cell_max = nullptr, *cell_sum = nullptr, *cell_missed = nullptr;
  std::int64_t head_stride = 0, stride = 0, row_begin = 0, rows = 0, cells = 0;
  const std::int64_t* budgets = nullptr;
  std::int32_t heads = 0, num_budgets = 0, cell_heads = 0, cell_level = record_least_cell;  ///< cells of 2^level keys
};
inline constexpr int curve_segments = 2 * record_most_budgets + 1;
inline constexpr std::int64_t curve_rows_shared_bytes = curve_segments * 32 * 4;

/// Flags of rows as bits, those of support, target and wasted apart: bit s % 8 of byte s / 8 is key s.
struct PackFlagsParams {
  const std::uint8_t* flags = nullptr;                                                ///< [rows, stride]
  std::uint8_t *support = nullptr, *target = nullptr, *wasted = nullptr;              ///< out [rows, row_bytes]
  std::int64_t stride = 0, rows = 0, bytes = 0, row_bytes = 0;  ///< `bytes` of a row are written; 8 bytes <= stride
};

}  // namespace headroom::kernels::cuda
