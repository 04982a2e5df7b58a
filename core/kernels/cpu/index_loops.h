// SPDX-License-Identifier: Apache-2.0
// The indexer's inner loops, for inclusion by index_score_<instruction set>.cpp only: everything is in an anonymous
// namespace and calls no external inline function, so nothing compiled for one set can be linked elsewhere.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cpu/index_kernels.h"

namespace headroom::kernels::cpu {
namespace {

/// Sums of Rows x Vectors stay in registers; a is broadcast once a row and step, b read once a vector and step.
template <class Ops, int Rows, int Vectors>
inline void product_block(const ProductTile& t, std::int64_t row, std::int64_t column) {
  typename Ops::Sum sums[Rows][Vectors];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sums[r][v] = Ops::zero();
  const std::uint32_t* b = t.panels + column * t.steps;
  const std::uint32_t* a = t.a + row * t.a_stride;
  for (std::int64_t i = 0; i < t.steps; ++i) {
    typename Ops::Element values[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) values[v] = Ops::load(b + i * Ops::panel_columns + v * Ops::lanes);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const typename Ops::Element factor = Ops::broadcast(a + r * t.a_stride + i);
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sums[r][v] = Ops::add_product(sums[r][v], factor, values[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v)
      Ops::store(t.out + (row + r) * t.out_stride + column + v * Ops::lanes, sums[r][v]);
}

template <class Ops, int Vectors>
inline void product_rows(const ProductTile& t, std::int64_t column) {
  std::int64_t row = 0;
  for (; row + Ops::rows <= t.rows; row += Ops::rows) product_block<Ops, Ops::rows, Vectors>(t, row, column);
  for (; row < t.rows; ++row) product_block<Ops, 1, Vectors>(t, row, column);
}

template <class Ops>
void product(const ProductTile& t) {
  std::int64_t column = 0;
  for (; column + (Ops::vectors - 1) * Ops::lanes < t.columns; column += Ops::panel_columns)
    product_rows<Ops, Ops::vectors>(t, column);
  const std::int64_t vectors = (t.columns - column + Ops::lanes - 1) / Ops::lanes;
  if (vectors == 1) product_rows<Ops, 1>(t, column);
  if constexpr (Ops::vectors > 2) {
    if (vectors == 2) product_rows<Ops, 2>(t, column);
  }
}

// Plain loops: the compiler vectorises them for the set that it compiles for.
void rotate_row(const RotateRow& row) {
  float partial[16] = {};
  std::int64_t i = 0;
  for (; i + 16 <= row.dim; i += 16)
    for (int lane = 0; lane < 16; ++lane) partial[lane] += row.k[i + lane] * row.k[i + lane];
  float square = 0;
  for (; i < row.dim; ++i) square += row.k[i] * row.k[i];
  for (int width = 8; width > 0; width /= 2)
    for (int lane = 0; lane < width; ++lane) partial[lane] += partial[lane + width];
  square += partial[0];
  const float factor = 1.0f / __builtin_sqrtf(square / static_cast<float>(row.dim) + row.norm_epsilon);
  const std::int64_t half = row.dim / 2;
#pragma GCC ivdep
  for (i = 0; i < half; ++i) {
    const float cosine = row.cosine[i], sine = row.sine[i];
    const float q0 = row.q[i], q1 = row.q[i + half];
    row.q_out[i] = q0 * cosine - q1 * sine;
    row.q_out[i + half] = q1 * cosine + q0 * sine;
    const float k0 = row.k[i] * factor * row.k_norm[i], k1 = row.k[i + half] * factor * row.k_norm[i + half];
    row.k_out[i] = k0 * cosine - k1 * sine;
    row.k_out[i + half] = k1 * cosine + k0 * sine;
  }
}

void round_to_bf16(const float* values, std::int64_t n, std::uint16_t* rounded) {
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, values + i, sizeof bits);
    const std::uint32_t nearest = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    rounded[i] = static_cast<std::uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : nearest);
  }
}

template <class Ops>
constexpr IndexKernels index_kernels(Isa isa, bool pairs) {
  return {isa, Ops::lanes, Ops::panel_columns, pairs, product<Ops>, rotate_row, round_to_bf16};
}

}  // namespace
}  // namespace headroom::kernels::cpu
