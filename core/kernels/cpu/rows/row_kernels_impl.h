// SPDX-License-Identifier: Apache-2.0
// The bodies of row_kernels.h on vectors of N lanes, for the file of each instruction set.
#pragma once

#include "kernels/cpu/rows/row_kernels.h"
#include "kernels/cpu/vectors.h"

namespace headroom::kernels::cpu {
namespace {

/// Not padded_keys: an external inline function has no place here (vectors.h).
HEADROOM_INLINE std::int64_t panels_of(std::int64_t keys) {
  return (keys + panel_keys - 1) / panel_keys;
}

template <int N, int Rows>
HEADROOM_INLINE void score_block(const ScoreArguments& a, std::int64_t row, std::int64_t panel) {
  constexpr int parts = panel_keys / N;
  Floats<N> sums[Rows][parts] = {};
  const float* keys = a.panels + panel * a.head_dim * panel_keys;
  const float* q = a.q + row * a.q_stride;
  for (std::int64_t i = 0; i < a.head_dim; ++i) {
    Floats<N> k[parts];
#pragma GCC unroll 8
    for (int part = 0; part < parts; ++part) k[part] = load<N>(keys + i * panel_keys + part * N);
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) {
      const float value = q[r * a.q_stride + i];
#pragma GCC unroll 8
      for (int part = 0; part < parts; ++part) sums[r][part] += value * k[part];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    float* out = a.scores + (row + r) * a.score_stride + panel * panel_keys;
#pragma GCC unroll 8
    for (int part = 0; part < parts; ++part) store<N>(out + part * N, sums[r][part]);
  }
}

/// A block's sums stay in registers: 16 of 32 (AVX-512), 12 of 16 (AVX2), 8 of 16 (SSE).
template <int N, int Rows>
void score_rows(const ScoreArguments& a) {
  const std::int64_t num_panels = panels_of(a.first_row + a.rows);
  for (std::int64_t panel = 0; panel < num_panels; ++panel) {
    // Rows before the panel's first key do not see it.
    const std::int64_t unseen = panel * panel_keys - a.first_row;
    std::int64_t row = unseen > 0 ? unseen : 0;
    for (; row + Rows <= a.rows; row += Rows) score_block<N, Rows>(a, row, panel);
    for (; row < a.rows; ++row) score_block<N, 1>(a, row, panel);
  }
}

/// exp(x) for x <= 0; 0 below -87 (and for NaN).
template <int N, int Count>
HEADROOM_INLINE void exp_in_place(Floats<N> (&x)[Count]) {
  Floats<N> value[Count];
  Ints<N> power[Count];
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { value[i] = x[i]; });
  split_exp<N>(value, power);
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA {
    x[i] = x[i] > -87.0f ? value[i] * reinterpret_cast<Floats<N>>((power[i] + 127) << 23) : Floats<N>{};
  });
}

/// log(x) for normal x > 0: exponent, then the atanh series around 1.
template <int N>
HEADROOM_INLINE void log_in_place(Floats<N>& x) {
  auto bits = reinterpret_cast<Ints<N>>(x);
  // Mantissa in [sqrt(1/2), sqrt(2)): 0x3f3504f3 is sqrt(1/2).
  const Ints<N> exponent = (bits - 0x3f3504f3) >> 23;
  bits -= exponent << 23;
  const auto m = reinterpret_cast<Floats<N>>(bits);
  const Floats<N> z = (m - 1.0f) / (m + 1.0f);
  const Floats<N> z2 = z * z;
  Floats<N> series = z2 * (2.0f / 9) + 2.0f / 7;
  series = series * z2 + 2.0f / 5;
  series = series * z2 + 2.0f / 3;
  series = series * z2 + 2.0f;
  x = __builtin_convertvector(exponent, Floats<N>) * 0.693147181f + series * z;
}

template <int N>
float softmax_row(float* row, std::int64_t n) {
  const std::int64_t padded = panels_of(n) * panel_keys;
  for (std::int64_t i = n; i < padded; ++i) row[i] = -__builtin_inff();
  Floats<N> largest = load<N>(row);
  for (std::int64_t i = N; i < padded; i += N) largest = larger<N>(largest, load<N>(row + i));
  const float max = largest_lane<N>(largest);
  Floats<N> sums[2] = {};
  for (std::int64_t i = 0; i < padded; i += 2 * N) {
    Floats<N> p[2] = {load<N>(row + i) - max, load<N>(row + i + N) - max};
    exp_in_place<N>(p);
    each<2>([&](int part) HEADROOM_INLINE_LAMBDA {
      sums[part] += p[part];
      store<N>(row + i + part * N, p[part]);
    });
  }
  const float sum = sum_lanes<N>(sums[0] + sums[1]), factor = 1.0f / sum;
  for (std::int64_t i = 0; i < padded; i += N) store<N>(row + i, load<N>(row + i) * factor);
  return max + __builtin_logf(sum);
}

template <int N>
void add_row(float* sum, const float* row, std::int64_t n, float factor) {
  std::int64_t i = 0;
  for (; i + N <= n; i += N) store<N>(sum + i, load<N>(sum + i) + load<N>(row + i) * factor);
  for (; i < n; ++i) sum[i] += row[i] * factor;
}

template <int N>
double entropy_row(const float* p, std::int64_t n) {
  constexpr float smallest = 1.1754944e-38f;
  Floats<N> total = {};
  double sum = 0;
  for (std::int64_t i = 0; i < n; i += N) {
    const Floats<N> value = load<N>(p + i, n - i);
    Floats<N> logarithm = value > smallest ? value : splat<N>(1.0f);
    log_in_place<N>(logarithm);
    total -= value * logarithm;
    if ((i & 1023) == 0) {  // fp32 within 1024 values, double across them
      sum += static_cast<double>(sum_lanes<N>(total));
      total = Floats<N>{};
    }
  }
  return sum + static_cast<double>(sum_lanes<N>(total));
}

template <int N>
void max_and_sum_row(const float* p, std::int64_t n, float& max, float& sum) {
  std::int64_t i = 0;
  max = n > 0 ? p[0] : 0.0f;
  sum = 0;
  if (n >= N) {
    Floats<N> largest = load<N>(p), total = largest;
    for (i = N; i + N <= n; i += N) {
      const Floats<N> value = load<N>(p + i);
      largest = larger<N>(largest, value);
      total += value;
    }
    max = largest_lane<N>(largest);
    sum = sum_lanes<N>(total);
  }
  for (; i < n; ++i) {
    max = p[i] > max ? p[i] : max;
    sum += p[i];
  }
}

/// `Rows` of q go through the keys together.
template <int N, int Rows>
constexpr RowKernels row_kernels_of(Isa isa, std::string_view name) {
  return {isa, name, score_rows<N, Rows>, softmax_row<N>, add_row<N>, entropy_row<N>, max_and_sum_row<N>};
}

}  // namespace
}  // namespace headroom::kernels::cpu
