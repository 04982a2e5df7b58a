// SPDX-License-Identifier: Apache-2.0
// Internal to the CPU attention kernels: sixteen lanes of fp32 on vectors of N, with the few operations that attention
// needs. Included inside an anonymous namespace by each attention_<isa>.cpp: nothing here may be shared between
// instruction sets. Needs <cstdint>, <cstring> and, above AVX2, <immintrin.h> before it.
#pragma once

#define HEADROOM_INLINE __attribute__((always_inline)) inline

template <int N>
struct VectorOf;  // specialised: GCC drops a vector size that depends on N
template <>
struct VectorOf<4> {
  using Floats = float __attribute__((vector_size(16), aligned(4), may_alias));
  using Ints = std::int32_t __attribute__((vector_size(16), aligned(4), may_alias));
};
template <>
struct VectorOf<8> {
  using Floats = float __attribute__((vector_size(32), aligned(4), may_alias));
  using Ints = std::int32_t __attribute__((vector_size(32), aligned(4), may_alias));
};
template <>
struct VectorOf<16> {
  using Floats = float __attribute__((vector_size(64), aligned(4), may_alias));
  using Ints = std::int32_t __attribute__((vector_size(64), aligned(4), may_alias));
};

template <int N>
using Floats = typename VectorOf<N>::Floats;
template <int N>
using Ints = typename VectorOf<N>::Ints;

template <int N>
HEADROOM_INLINE Floats<N> load(const float* from) {
  return *reinterpret_cast<const Floats<N>*>(from);
}
template <int N>
HEADROOM_INLINE void store(float* to, Floats<N> value) {
  *reinterpret_cast<Floats<N>*>(to) = value;
}
template <int N>
HEADROOM_INLINE Floats<N> splat(float value) {
  return value - Floats<N>{};
}
/// The larger one; a where b is NaN.
template <int N>
HEADROOM_INLINE Floats<N> larger(Floats<N> a, Floats<N> b) {
  return b > a ? b : a;
}

/// 2^(x factor) for x <= 0 and factor > 0 to 1e-7; 0 where x < least = -126 / factor; NaN stays NaN. Polynomial of degree
/// 5 on [-1/2, 1/2], fitted for least relative error. The product is never rounded by itself where it can be fused, so
/// the factor costs nothing.
template <int N>
HEADROOM_INLINE Floats<N> exp2_below_zero(Floats<N> x, float factor, float least) {
  constexpr float rounder = 12582912.0f + 127.0f;  // 1.5 * 2^23 + bias: the low bits of the sum are the result's exponent
  const Floats<N> shifted = x * factor + rounder;
  const Floats<N> r = x * factor - (shifted - rounder);
  Floats<N> y = r * 0.0013276471f + 0.009675541f;
  y = y * r + 0.05550713f;
  y = y * r + 0.2402212f;
  y = y * r + 0.69314694f;
  y = y * r + 1.0f;
  const Ints<N> power = reinterpret_cast<Ints<N>>(shifted) << 23;
  return x < least ? Floats<N>{} : y * reinterpret_cast<Floats<N>>(power);
}

/// Lanes whose bit of `bits` (from bit `lane` on) is set keep their value, the others get `other`.
template <int N>
HEADROOM_INLINE Floats<N> keep_members(Floats<N> value, std::uint16_t bits, int lane, Floats<N> other) {
#if defined(__AVX512F__)
  if constexpr (N == 16) {
    (void)lane;
    return reinterpret_cast<Floats<N>>(
        _mm512_mask_mov_ps(reinterpret_cast<__m512>(other), bits, reinterpret_cast<__m512>(value)));
  }
#endif
  Ints<N> bit;
  for (int i = 0; i < N; ++i) bit[i] = 1 << (lane + i);
  return (bit & static_cast<std::int32_t>(bits)) != 0 ? value : other;
}

/// Sum of all lanes, by halves.
template <int N>
HEADROOM_INLINE float sum_lanes(Floats<N> value) {
  float lanes[N];
  store<N>(lanes, value);
  for (int width = N / 2; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
  return lanes[0];
}
template <int N>
HEADROOM_INLINE float largest_lane(Floats<N> value) {
  float lanes[N];
  store<N>(lanes, value);
  float largest = lanes[0];
  for (int i = 1; i < N; ++i) largest = lanes[i] > largest ? lanes[i] : largest;
  return largest;
}

/// to[i * stride + j] = from[j][i], 16 x 16.
HEADROOM_INLINE void transpose_16(const float* from, float* to, std::int64_t stride) {
#if defined(__AVX512F__)
  __m512 a[16], b[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) a[i] = _mm512_loadu_ps(from + 16 * i);
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const __m512d low = _mm512_castps_pd(b[i + j]), high = _mm512_castps_pd(b[i + j + 2]);
      a[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
      a[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
  }
  // a[4 g + c]: rows 4 g … 4 g + 3 of columns c, 4 + c, 8 + c, 12 + c.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512 low = _mm512_shuffle_f32x4(a[c], a[4 + c], 0x88), high = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0x88);
    const __m512 low2 = _mm512_shuffle_f32x4(a[c], a[4 + c], 0xdd),
                 high2 = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0xdd);
    _mm512_storeu_ps(to + c * stride, _mm512_shuffle_f32x4(low, high, 0x88));
    _mm512_storeu_ps(to + (8 + c) * stride, _mm512_shuffle_f32x4(low, high, 0xdd));
    _mm512_storeu_ps(to + (4 + c) * stride, _mm512_shuffle_f32x4(low2, high2, 0x88));
    _mm512_storeu_ps(to + (12 + c) * stride, _mm512_shuffle_f32x4(low2, high2, 0xdd));
  }
#else
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) to[i * stride + j] = from[16 * j + i];
#endif
}

HEADROOM_INLINE float widen(std::uint16_t bits) {
  const std::uint32_t word = static_cast<std::uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}
/// To nearest even; NaN stays NaN.
HEADROOM_INLINE std::uint16_t narrow(float value) {
  std::uint32_t word;
  std::memcpy(&word, &value, sizeof word);
  const std::uint32_t rounded = (word + 0x7fff + (word >> 16 & 1)) >> 16;
  return static_cast<std::uint16_t>((word & 0x7fffffff) > 0x7f800000 ? word >> 16 | 0x40 : rounded);
}
