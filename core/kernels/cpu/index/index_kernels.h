// SPDX-License-Identifier: Apache-2.0
// Inside of index_score: the inner loops, one table for each instruction set.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"

namespace headroom::kernels::cpu {

/// out[r][c] = sum_i a[r][i] * b[c][i] in order of i, where an element is a dword: an fp32 value, or a pair of bf16
/// whose two products count at once.
struct ProductTile {
  const std::uint32_t* a = nullptr;  ///< [rows, steps], `a_stride` dwords a row
  std::int64_t a_stride = 0, rows = 0, steps = 0;
  const std::uint32_t* panels = nullptr;  ///< b as [panels, steps, panel_columns], the last filled with zeros
  std::int64_t columns = 0;
  float* out = nullptr;  ///< [rows, out_stride]; columns are written up to a multiple of the lanes
  std::int64_t out_stride = 0;
};

/// Norm and rotation of one row of projections.
struct RotateRow {
  const float* q = nullptr;  ///< [dim]
  const float* k = nullptr;
  std::int64_t dim = 0;
  const float* k_norm = nullptr;
  float norm_epsilon = 0;
  const float* cosine = nullptr;  ///< [dim / 2]
  const float* sine = nullptr;
  float* q_out = nullptr;  ///< [dim]; may be q
  float* k_out = nullptr;
};

struct IndexKernels {
  Isa isa = Isa::baseline;
  std::int64_t lanes = 0, panel_columns = 0;
  bool pairs = false;  ///< dwords are pairs of bf16
  void (*product)(const ProductTile& tile) = nullptr;
  void (*rotate)(const RotateRow& row) = nullptr;
  /// To nearest even; NaN stays NaN.
  void (*round)(const float* values, std::int64_t n, std::uint16_t* rounded) = nullptr;
};

extern const IndexKernels index_kernels_baseline, index_kernels_avx2, index_kernels_avx512, index_kernels_avx512_bf16;

}  // namespace headroom::kernels::cpu
