// SPDX-License-Identifier: Apache-2.0
// Written once on vectors of N lanes; each wrapper below compiles the same bodies for another instruction set.
#include "kernels/cpu/row_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#if defined(__x86_64__)
#define HEADROOM_AVX512 __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
#define HEADROOM_AVX2 __attribute__((target("avx2,fma")))
#endif
#define HEADROOM_INLINE __attribute__((always_inline)) inline

namespace headroom::kernels::cpu {
namespace {

template <int N>
struct Vector;  // specialised: GCC drops a vector size that depends on N
template <>
struct Vector<4> {
  using Floats = float __attribute__((vector_size(16)));
  using Ints = std::int32_t __attribute__((vector_size(16)));
};
template <>
struct Vector<8> {
  using Floats = float __attribute__((vector_size(32)));
  using Ints = std::int32_t __attribute__((vector_size(32)));
};
template <>
struct Vector<16> {
  using Floats = float __attribute__((vector_size(64)));
  using Ints = std::int32_t __attribute__((vector_size(64)));
};
template <int N>
using Floats = typename Vector<N>::Floats;
template <int N>
using Ints = typename Vector<N>::Ints;

template <typename V>
HEADROOM_INLINE void load(V& to, const float* from) {
  std::memcpy(&to, from, sizeof to);
}
template <typename V>
HEADROOM_INLINE void store(float* to, const V& from) {
  std::memcpy(to, &from, sizeof from);
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
    for (int part = 0; part < parts; ++part) load(k[part], keys + i * panel_keys + part * N);
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
    for (int part = 0; part < parts; ++part) store(out + part * N, sums[r][part]);
  }
}

/// A block's sums stay in registers: 16 of 32 (AVX-512), 12 of 16 (AVX2), 8 of 16 (SSE).
template <int N, int Rows>
HEADROOM_INLINE void score_rows(const ScoreArguments& a) {
  const std::int64_t num_panels = padded_keys(a.first_row + a.rows) / panel_keys;
  for (std::int64_t panel = 0; panel < num_panels; ++panel) {
    // Rows before the panel's first key do not see it.
    std::int64_t row = std::max<std::int64_t>(0, panel * panel_keys - a.first_row);
    for (; row + Rows <= a.rows; row += Rows) score_block<N, Rows>(a, row, panel);
    for (; row < a.rows; ++row) score_block<N, 1>(a, row, panel);
  }
}

/// exp(x) for x <= 0; 0 below -87 (and for NaN). Range reduction by powers of two, then Taylor to degree 7, whose
/// remainder is below 1e-8.
template <int N>
HEADROOM_INLINE void exp_in_place(Floats<N>& x) {
  constexpr float log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  constexpr float rounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number in the low bits
  const Floats<N> shifted = x * log2_e + rounder;
  const Floats<N> whole = shifted - rounder;
  const Floats<N> r = (x - whole * ln2_high) - whole * ln2_low;
  Floats<N> y = r * (1.0f / 5040) + 1.0f / 720;
  y = y * r + 1.0f / 120;
  y = y * r + 1.0f / 24;
  y = y * r + 1.0f / 6;
  y = y * r + 0.5f;
  y = y * r + 1.0f;
  y = y * r + 1.0f;
  Ints<N> bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = ((bits - 0x4b400000) + 127) << 23;
  Floats<N> power;
  std::memcpy(&power, &bits, sizeof power);
  x = (x > -87.0f) ? y * power : Floats<N>{};
}

/// log(x) for normal x > 0: exponent, then the atanh series around 1.
template <int N>
HEADROOM_INLINE void log_in_place(Floats<N>& x) {
  Ints<N> bits;
  std::memcpy(&bits, &x, sizeof bits);
  // Mantissa in [sqrt(1/2), sqrt(2)): 0x3f3504f3 is sqrt(1/2).
  const Ints<N> exponent = (bits - 0x3f3504f3) >> 23;
  bits -= exponent << 23;
  Floats<N> m;
  std::memcpy(&m, &bits, sizeof m);
  const Floats<N> z = (m - 1.0f) / (m + 1.0f);
  const Floats<N> z2 = z * z;
  Floats<N> series = z2 * (2.0f / 9) + 2.0f / 7;
  series = series * z2 + 2.0f / 5;
  series = series * z2 + 2.0f / 3;
  series = series * z2 + 2.0f;
  x = __builtin_convertvector(exponent, Floats<N>) * 0.693147181f + series * z;
}

template <int N>
HEADROOM_INLINE float lane_sum(const Floats<N>& v) {
  float sum = 0;
  for (int i = 0; i < N; ++i) sum += v[i];
  return sum;
}
template <int N>
HEADROOM_INLINE float lane_max(const Floats<N>& v) {
  float max = v[0];
  for (int i = 1; i < N; ++i) max = std::max(max, v[i]);
  return max;
}

template <int N>
HEADROOM_INLINE float softmax_row(float* row, std::int64_t n) {
  const std::int64_t padded = padded_keys(n);
  for (std::int64_t i = n; i < padded; ++i) row[i] = -INFINITY;
  Floats<N> largest;
  load(largest, row);
  for (std::int64_t i = N; i < padded; i += N) {
    Floats<N> value;
    load(value, row + i);
    largest = value > largest ? value : largest;
  }
  const float max = lane_max<N>(largest);
  Floats<N> sum0 = {}, sum1 = {};
  for (std::int64_t i = 0; i < padded; i += 2 * N) {
    Floats<N> a, b;
    load(a, row + i);
    load(b, row + i + N);
    a -= max;
    b -= max;
    exp_in_place<N>(a);
    exp_in_place<N>(b);
    sum0 += a;
    sum1 += b;
    store(row + i, a);
    store(row + i + N, b);
  }
  sum0 += sum1;
  const float sum = lane_sum<N>(sum0), factor = 1.0f / sum;
  for (std::int64_t i = 0; i < padded; i += N) {
    Floats<N> value;
    load(value, row + i);
    value *= factor;
    store(row + i, value);
  }
  return max + std::log(sum);
}

template <int N>
HEADROOM_INLINE void add_row(float* sum, const float* row, std::int64_t n, float factor) {
  std::int64_t i = 0;
  for (; i + N <= n; i += N) {
    Floats<N> a, b;
    load(a, sum + i);
    load(b, row + i);
    a += b * factor;
    store(sum + i, a);
  }
  for (; i < n; ++i) sum[i] += row[i] * factor;
}

template <int N>
HEADROOM_INLINE double entropy_row(const float* p, std::int64_t n) {
  constexpr float smallest = 1.1754944e-38f;
  Floats<N> total = {};
  double sum = 0;
  for (std::int64_t i = 0; i < n; i += N) {
    Floats<N> value = {};
    std::memcpy(&value, p + i, static_cast<std::size_t>(std::min<std::int64_t>(N, n - i)) * sizeof(float));
    Floats<N> logarithm = value > smallest ? value : Floats<N>{} + 1.0f;
    log_in_place<N>(logarithm);
    total -= value * logarithm;
    if ((i & 1023) == 0) {  // fp32 within 1024 values, double across them
      sum += static_cast<double>(lane_sum<N>(total));
      total = Floats<N>{};
    }
  }
  return sum + static_cast<double>(lane_sum<N>(total));
}

template <int N>
HEADROOM_INLINE void max_and_sum_row(const float* p, std::int64_t n, float& max, float& sum) {
  std::int64_t i = 0;
  max = n > 0 ? p[0] : 0.0f;
  sum = 0;
  if (n >= N) {
    Floats<N> largest, total;
    load(largest, p);
    total = largest;
    for (i = N; i + N <= n; i += N) {
      Floats<N> value;
      load(value, p + i);
      largest = value > largest ? value : largest;
      total += value;
    }
    max = lane_max<N>(largest);
    sum = lane_sum<N>(total);
  }
  for (; i < n; ++i) {
    max = std::max(max, p[i]);
    sum += p[i];
  }
}

// One set of entry points for each instruction set.
#define HEADROOM_ROW_KERNELS(suffix, attribute, N, block_rows)                                                    \
  attribute void scores_##suffix(const ScoreArguments& a) {                                                       \
    score_rows<N, block_rows>(a);                                                                                 \
  }                                                                                                               \
  attribute float softmax_##suffix(float* row, std::int64_t n) {                                                  \
    return softmax_row<N>(row, n);                                                                                \
  }                                                                                                               \
  attribute void add_##suffix(float* sum, const float* row, std::int64_t n, float factor) {                       \
    add_row<N>(sum, row, n, factor);                                                                              \
  }                                                                                                               \
  attribute double entropy_##suffix(const float* p, std::int64_t n) {                                             \
    return entropy_row<N>(p, n);                                                                                  \
  }                                                                                                               \
  attribute void max_and_sum_##suffix(const float* p, std::int64_t n, float& max, float& sum) {                   \
    max_and_sum_row<N>(p, n, max, sum);                                                                           \
  }                                                                                                               \
  constexpr RowKernels kernels_##suffix = {Isa::suffix,  #suffix,          scores_##suffix,     softmax_##suffix, \
                                           add_##suffix, entropy_##suffix, max_and_sum_##suffix};

HEADROOM_ROW_KERNELS(baseline, , 4, 1)
#if defined(__x86_64__)
HEADROOM_ROW_KERNELS(avx2, HEADROOM_AVX2, 8, 3)
HEADROOM_ROW_KERNELS(avx512, HEADROOM_AVX512, 16, 8)
#endif

}  // namespace

const RowKernels& row_kernels(Isa at_most) {
#if defined(__x86_64__)
  const Isa best = best_isa(at_most);
  if (best >= Isa::avx512) return kernels_avx512;
  if (best >= Isa::avx2) return kernels_avx2;
#endif
  return kernels_baseline;
}

const RowKernels& row_kernels() {
  static const RowKernels& best = row_kernels(Isa::avx512);
  return best;
}

void pack_keys(const float* k, std::int64_t keys, std::int64_t head_dim, float* panels) {
  for (std::int64_t panel = 0; panel * panel_keys < keys; ++panel) {
    float* out = panels + panel * head_dim * panel_keys;
    const std::int64_t count = std::min(panel_keys, keys - panel * panel_keys);
    for (std::int64_t i = 0; i < head_dim; ++i)
      for (std::int64_t s = 0; s < panel_keys; ++s)
        out[i * panel_keys + s] = s < count ? k[(panel * panel_keys + s) * head_dim + i] : 0.0f;
  }
}

}  // namespace headroom::kernels::cpu
