// SPDX-License-Identifier: Apache-2.0
// Dense row arithmetic of attention: scores, softmax, sums. One table of functions per instruction set, chosen at run
// time; threads are the caller's.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/cpu/isa.h"

namespace headroom::kernels::cpu {

/// Keys are packed in panels of this many; rows of scores are padded to whole panels.
inline constexpr std::int64_t panel_keys = 32;
inline constexpr std::int64_t padded_keys(std::int64_t keys) {
  return (keys + panel_keys - 1) / panel_keys * panel_keys;
}

struct ScoreArguments {
  const float* q = nullptr;  ///< [rows, head_dim], `q_stride` floats a row
  std::int64_t q_stride = 0;
  std::int64_t rows = 0;
  std::int64_t first_row = 0;  ///< position of row 0: row r needs keys 0 … first_row + r
  std::int64_t head_dim = 0;
  const float* panels = nullptr;  ///< pack_keys' output
  float* scores =
      nullptr;  ///< [rows, score_stride]; whole panels are written, so score_stride >= padded_keys(first_row + rows)
  std::int64_t score_stride = 0;
};

struct RowKernels {
  Isa isa = Isa::baseline;
  std::string_view name;
  /// scores[r][s] = q[r] . k[s], summed over head_dim in order. Entries behind a row's own panel may stay unwritten.
  void (*scores)(const ScoreArguments& arguments) = nullptr;
  /// row[0 … n) becomes its softmax, row[n … padded_keys(n)) zero; returns the log-sum-exp. Exact to about 1e-6.
  float (*softmax)(float* row, std::int64_t n) = nullptr;
  /// sum[i] += factor * row[i]
  void (*add)(float* sum, const float* row, std::int64_t n, float factor) = nullptr;
  /// -sum p log p over p[0 … n), nats; zeros count as 0.
  double (*entropy)(const float* p, std::int64_t n) = nullptr;
  /// Largest value and sum of p[0 … n).
  void (*max_and_sum)(const float* p, std::int64_t n, float& max, float& sum) = nullptr;
};

/// The best this machine runs.
const RowKernels& row_kernels();
/// A given set, or the best below it that this machine runs.
const RowKernels& row_kernels(Isa at_most);

/// Packs keys [keys, head_dim] as [panels, head_dim, panel_keys], the last panel filled with zeros. `panels` has
/// padded_keys(keys) * head_dim places.
void pack_keys(const float* k, std::int64_t keys, std::int64_t head_dim, float* panels);

}  // namespace headroom::kernels::cpu
