// SPDX-License-Identifier: Apache-2.0
// Internal to index_score: the indexer's inner loops. For the files of one instruction set alone, as vectors.h is.
#pragma once

#include "kernels/cpu/index/index_kernels.h"
#include "kernels/cpu/vectors.h"

namespace headroom::kernels::cpu {
namespace {

/// How many sums the registers of an instruction set hold at once.
template <class Products, int Rows, int Vectors>
struct Blocking : Products {
  static constexpr int rows = Rows, vectors = Vectors, panel_columns = Vectors * Products::lanes;
};

template <int N>
HEADROOM_INLINE Floats<N> load_units(const std::uint32_t* from) {
  return reinterpret_cast<Floats<N>>(load<N>(reinterpret_cast<const std::int32_t*>(from)));
}

/// Sums of Rows x Vectors stay in registers; a is broadcast once a row and step, b read once a vector and step.
template <class Ops, int Rows, int Vectors>
inline void product_block(const ProductTile& t, std::int64_t row, std::int64_t column) {
  using Lanes = Floats<Ops::lanes>;
  Lanes sums[Rows][Vectors];
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) sums[r][v] = Lanes{};
  const std::uint32_t* b = t.panels + column * t.steps;
  const std::uint32_t* a = t.a + row * t.a_stride;
  for (std::int64_t i = 0; i < t.steps; ++i) {
    Lanes values[Vectors];
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v) values[v] = load_units<Ops::lanes>(b + i * Ops::panel_columns + v * Ops::lanes);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const Lanes factor = Ops::broadcast(a + r * t.a_stride + i);
#pragma GCC unroll 4
      for (int v = 0; v < Vectors; ++v) sums[r][v] = Ops::add_product(sums[r][v], factor, values[v]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < Vectors; ++v)
      store<Ops::lanes>(t.out + (row + r) * t.out_stride + column + v * Ops::lanes, sums[r][v]);
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
inline void rotate_row(const RotateRow& row) {
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

inline void round_to_bf16(const float* values, std::int64_t n, std::uint16_t* rounded) {
  for (std::int64_t i = 0; i < n; ++i) rounded[i] = to_bf16(values[i]);
}

template <class Ops>
constexpr IndexKernels index_kernels(Isa isa) {
  return {isa, Ops::lanes, Ops::panel_columns, Ops::group == 2, product<Ops>, rotate_row, round_to_bf16};
}

}  // namespace
}  // namespace headroom::kernels::cpu
