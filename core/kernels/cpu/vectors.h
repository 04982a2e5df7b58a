// SPDX-License-Identifier: Apache-2.0
// Vectors of N fp32 lanes for the inner loops of every CPU kernel: AVX-512, AVX2 and plain code in one place.
// Everything is in an anonymous namespace and calls no external inline function: what a file compiled for one
// instruction set makes of it cannot be linked elsewhere (isa.h). GCC's vectors, not Highway: that of Debian 12 has no
// VDPBF16PS, and the rest of it would be a package for these lines.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define HEADROOM_INLINE __attribute__((always_inline)) inline
#define HEADROOM_INLINE_LAMBDA __attribute__((always_inline))

namespace headroom::kernels::cpu {
namespace {

template <int N>
struct VectorOf;  // specialised: GCC drops a vector size that depends on N
#define HEADROOM_VECTORS(n)                                             \
  template <>                                                           \
  struct VectorOf<n> {                                                  \
    using Floats = float __attribute__((vector_size(4 * (n))));         \
    using Ints = std::int32_t __attribute__((vector_size(4 * (n))));    \
    using Words = std::uint32_t __attribute__((vector_size(4 * (n))));  \
    using Halves = std::uint16_t __attribute__((vector_size(2 * (n)))); \
  };
HEADROOM_VECTORS(4)
HEADROOM_VECTORS(8)
HEADROOM_VECTORS(16)
#undef HEADROOM_VECTORS
template <int N>
using Floats = typename VectorOf<N>::Floats;
template <int N>
using Ints = typename VectorOf<N>::Ints;
template <int N>
using Words = typename VectorOf<N>::Words;

// Loads and stores of any alignment. `count` < N takes that many elements, with zeros behind them; N is known to the
// compiler nearly everywhere.

template <int N>
HEADROOM_INLINE Floats<N> load(const float* from, std::int64_t count = N) {
  Floats<N> value{};
  __builtin_memcpy(&value, from, count >= N ? sizeof value : static_cast<std::size_t>(count) * sizeof *from);
  return value;
}
template <int N>
HEADROOM_INLINE void store(float* to, Floats<N> value, std::int64_t count = N) {
  __builtin_memcpy(to, &value, count >= N ? sizeof value : static_cast<std::size_t>(count) * sizeof *to);
}
template <int N>
HEADROOM_INLINE Ints<N> load(const std::int32_t* from) {
  Ints<N> value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}
template <int N>
HEADROOM_INLINE void store(std::int32_t* to, Ints<N> value) {
  __builtin_memcpy(to, &value, sizeof value);
}

template <int N>
HEADROOM_INLINE Floats<N> splat(float value) {
  return value - Floats<N>{};
}
template <int N>
HEADROOM_INLINE Ints<N> splat(std::int32_t value) {
  return value - Ints<N>{};
}
/// 0, 1, 2 …
template <int N>
HEADROOM_INLINE Ints<N> lane_numbers() {
  Ints<N> numbers;
  for (int i = 0; i < N; ++i) numbers[i] = i;
  return numbers;
}
/// The larger one; a where b is NaN.
template <int N>
HEADROOM_INLINE Floats<N> larger(Floats<N> a, Floats<N> b) {
  return b > a ? b : a;
}
/// The smaller one; a where b is NaN.
template <int N>
HEADROOM_INLINE Floats<N> smaller(Floats<N> a, Floats<N> b) {
  return b < a ? b : a;
}

/// All lanes joined two by two: lane i of the lower half with lane i of the upper one, and so on.
template <int N, typename Vector, typename Join>
HEADROOM_INLINE auto join_lanes(Vector v, Join&& join) {
  if constexpr (N == 16) {
    return join_lanes<8>(join(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7),
                              __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)),
                         join);
  } else if constexpr (N == 8) {
    return join_lanes<4>(join(__builtin_shufflevector(v, v, 0, 1, 2, 3), __builtin_shufflevector(v, v, 4, 5, 6, 7)),
                         join);
  } else {
    v = join(v, __builtin_shufflevector(v, v, 2, 3, 0, 1));
    return join(v, __builtin_shufflevector(v, v, 1, 0, 3, 2))[0];
  }
}
template <int N>
HEADROOM_INLINE float sum_lanes(Floats<N> value) {
  return join_lanes<N>(value, [](auto a, auto b) HEADROOM_INLINE_LAMBDA { return a + b; });
}
template <int N>
HEADROOM_INLINE std::int32_t sum_lanes(Ints<N> value) {
  return join_lanes<N>(value, [](auto a, auto b) HEADROOM_INLINE_LAMBDA { return a + b; });
}
/// Any lane's value where one is NaN.
template <int N>
HEADROOM_INLINE float largest_lane(Floats<N> value) {
  return join_lanes<N>(value, [](auto a, auto b) HEADROOM_INLINE_LAMBDA { return b > a ? b : a; });
}
template <int N>
HEADROOM_INLINE float smallest_lane(Floats<N> value) {
  return join_lanes<N>(value, [](auto a, auto b) HEADROOM_INLINE_LAMBDA { return b < a ? b : a; });
}

/// f(0) … f(Count - 1), one after the other: a step of that many independent chains.
template <int Count, typename F>
HEADROOM_INLINE void each(F&& f) {
#pragma GCC unroll 8
  for (int i = 0; i < Count; ++i) f(i);
}

/// exp(x) = x' 2^power: x becomes x', near 1. For |x| < 2^20. Range reduction by powers of two, then Taylor to degree 7
/// (remainder below 1e-8). Count vectors step by step: one alone would wait for its own results most of the time, in a
/// chain too long for the processor to look past.
template <int N, int Count>
HEADROOM_INLINE void split_exp(Floats<N> (&x)[Count], Ints<N> (&power)[Count]) {
  constexpr float to_log2 = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  constexpr float rounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number in the low bits
  constexpr float factors[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
  Floats<N> shifted[Count], r[Count];
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { shifted[i] = x[i] * to_log2 + rounder; });
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA {
    const Floats<N> whole = shifted[i] - rounder;
    r[i] = (x[i] - whole * ln2_high) - whole * ln2_low;
  });
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { x[i] = r[i] * (1.0f / 5040) + factors[0]; });
#pragma GCC unroll 8
  for (int step = 1; step < 7; ++step)
    each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { x[i] = x[i] * r[i] + factors[step]; });
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { power[i] = reinterpret_cast<Ints<N>>(shifted[i]) - 0x4b400000; });
}

/// 2^(x factor) for x <= 0 and factor > 0 to 1e-7; 0 where x < least = -126 / factor; NaN stays NaN. Polynomial of
/// degree 5 on [-1/2, 1/2], fitted for least relative error. The product is never rounded by itself where it can be
/// fused, so the factor costs nothing.
template <int N>
HEADROOM_INLINE Floats<N> exp2_below_zero(Floats<N> x, float factor, float least) {
  constexpr float rounder =
      12582912.0f + 127.0f;  // 1.5 * 2^23 + bias: the low bits of the sum are the result's exponent
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
    const __m512 low = _mm512_shuffle_f32x4(a[c], a[4 + c], 0x88),
                 high = _mm512_shuffle_f32x4(a[8 + c], a[12 + c], 0x88);
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

// bf16

struct Bf16 {
  std::uint16_t bits;
};

HEADROOM_INLINE float from_bf16(std::uint16_t bits) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16);
}
/// To nearest even; NaN stays NaN.
HEADROOM_INLINE std::uint16_t to_bf16(float value) {
  const auto word = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t rounded = (word + 0x7fff + (word >> 16 & 1)) >> 16;
  return static_cast<std::uint16_t>((word & 0x7fffffff) > 0x7f800000 ? word >> 16 | 0x40 : rounded);
}

template <int N>
HEADROOM_INLINE Floats<N> load(const Bf16* from, std::int64_t count = N) {
  typename VectorOf<N>::Halves halves{};
  __builtin_memcpy(&halves, from, count >= N ? sizeof halves : static_cast<std::size_t>(count) * sizeof *from);
  return reinterpret_cast<Floats<N>>(__builtin_convertvector(halves, Words<N>) << 16);
}
/// x to nearest even in the high half of each word, in the low half anything. NaN stays NaN if its low half has nothing
/// that could carry, as in one that comes of bf16 values or of no number at all (inf - inf).
template <int N>
HEADROOM_INLINE Words<N> round_to_high_half(Floats<N> x) {
  const auto bits = reinterpret_cast<Words<N>>(x);
  return bits + (0x7fff + ((bits >> 16) & 1));
}
template <int N>
HEADROOM_INLINE void store(Bf16* to, Floats<N> value, std::int64_t count = N) {
  const auto halves = __builtin_convertvector(round_to_high_half<N>(value) >> 16, typename VectorOf<N>::Halves);
  __builtin_memcpy(to, &halves, count >= N ? sizeof halves : static_cast<std::size_t>(count) * sizeof *to);
}

// Products. A "unit" is what a lane of an operand holds, and what one step of a dot product multiplies.

/// Units are floats.
template <int N>
struct FloatProducts {
  static constexpr int lanes = N, group = 1;
  static HEADROOM_INLINE Floats<N> broadcast(const void* unit) {
    float value;
    __builtin_memcpy(&value, unit, sizeof value);
    return splat<N>(value);
  }
  static HEADROOM_INLINE Floats<N> add_product(Floats<N> sum, Floats<N> a, Floats<N> b) { return sum + a * b; }
};

#if defined(__AVX512BF16__)
/// Units are pairs of bf16; both products of a pair are added in fp32.
struct PairProducts {
  static constexpr int lanes = 16, group = 2;
  static HEADROOM_INLINE Floats<16> broadcast(const void* unit) {
    std::int32_t pair;
    __builtin_memcpy(&pair, unit, sizeof pair);
    return reinterpret_cast<Floats<16>>(_mm512_set1_epi32(pair));
  }
  static HEADROOM_INLINE Floats<16> add_product(Floats<16> sum, Floats<16> a, Floats<16> b) {
    return reinterpret_cast<Floats<16>>(
        _mm512_dpbf16_ps(reinterpret_cast<__m512>(sum), reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b)));
  }
};
#endif

#if defined(__AVX2__)
// Comparing, counting and packing lanes, for N = 8 and, with AVX-512, 16.

template <int N>
struct MaskOf {
  using Type = Ints<N>;  ///< -1 in lanes that are in
};
#if defined(__AVX512F__)
template <>
struct MaskOf<16> {
  using Type = __mmask16;
};
#endif
template <int N>
using Mask = typename MaskOf<N>::Type;

/// Lanes 0 … count - 1; count >= 0.
template <int N>
HEADROOM_INLINE Mask<N> first_lanes(std::int64_t count) {
#if defined(__AVX512F__)
  if constexpr (N == 16) return static_cast<__mmask16>(count >= N ? 0xffffu : (1u << count) - 1u);
#endif
  if constexpr (N == 8) return splat<N>(static_cast<std::int32_t>(count < N ? count : N)) > lane_numbers<N>();
}
/// from[0 … count) in the first lanes, `other` behind them.
template <int N>
HEADROOM_INLINE Floats<N> load_first(const float* from, std::int64_t count, Floats<N> other) {
  const Mask<N> lanes = first_lanes<N>(count);
#if defined(__AVX512F__)
  if constexpr (N == 16)
    return reinterpret_cast<Floats<N>>(_mm512_mask_loadu_ps(reinterpret_cast<__m512>(other), lanes, from));
#endif
  if constexpr (N == 8)
    return lanes ? reinterpret_cast<Floats<N>>(_mm256_maskload_ps(from, reinterpret_cast<__m256i>(lanes))) : other;
}
template <int N>
HEADROOM_INLINE void store_first(std::int32_t* to, std::int64_t count, Ints<N> value) {
  const Mask<N> lanes = first_lanes<N>(count);
#if defined(__AVX512F__)
  if constexpr (N == 16) _mm512_mask_storeu_epi32(to, lanes, reinterpret_cast<__m512i>(value));
#endif
  if constexpr (N == 8) _mm256_maskstore_epi32(to, reinterpret_cast<__m256i>(lanes), reinterpret_cast<__m256i>(value));
}
/// Lanes of x that are at least `floor`; NaN is not.
template <int N>
HEADROOM_INLINE Mask<N> reaching(Floats<N> x, Floats<N> floor) {
#if defined(__AVX512F__)
  if constexpr (N == 16)
    return _mm512_cmp_ps_mask(reinterpret_cast<__m512>(x), reinterpret_cast<__m512>(floor), _CMP_GE_OQ);
#endif
  if constexpr (N == 8) return x >= floor;
}
/// One more in the lanes that are in.
template <int N>
HEADROOM_INLINE Ints<N> count_in(Ints<N> counts, Mask<N> lanes) {
#if defined(__AVX512F__)
  if constexpr (N == 16) {
    const auto from = reinterpret_cast<__m512i>(counts);
    return reinterpret_cast<Ints<N>>(_mm512_mask_add_epi32(from, lanes, from, _mm512_set1_epi32(1)));
  }
#endif
  if constexpr (N == 8) return counts - lanes;
}
/// Bit i for lane i.
template <int N>
HEADROOM_INLINE unsigned bits_of(Mask<N> lanes) {
#if defined(__AVX512F__)
  if constexpr (N == 16) return lanes;
#endif
  if constexpr (N == 8) return static_cast<unsigned>(_mm256_movemask_ps(reinterpret_cast<__m256>(lanes)));
}

/// For each mask of 8 lanes the lanes that are in, first to last, then zeros.
struct LaneTable {
  std::uint8_t lanes[256][8] = {};
  constexpr LaneTable() {
    for (int mask = 0; mask < 256; ++mask) {
      int count = 0;
      for (int lane = 0; lane < 8; ++lane)
        if (mask >> lane & 1) lanes[mask][count++] = static_cast<std::uint8_t>(lane);
    }
  }
};
alignas(64) constexpr LaneTable lane_table;

/// Moves the lanes that are in to the front, in order; what is behind them counts for nothing.
template <int N>
class Packing {
 public:
  HEADROOM_INLINE explicit Packing(Mask<N> lanes) : count_(__builtin_popcount(bits_of<N>(lanes))) {
#if defined(__AVX512F__)
    if constexpr (N == 16) order_ = lanes;
#endif
    if constexpr (N == 8) {
      const auto* row = reinterpret_cast<const __m128i*>(lane_table.lanes[bits_of<N>(lanes)]);
      order_ = reinterpret_cast<Ints<N>>(_mm256_cvtepu8_epi32(_mm_loadl_epi64(row)));
    }
  }
  HEADROOM_INLINE Ints<N> operator()(Ints<N> value) const {
#if defined(__AVX512F__)
    if constexpr (N == 16)
      return reinterpret_cast<Ints<N>>(_mm512_maskz_compress_epi32(order_, reinterpret_cast<__m512i>(value)));
#endif
    if constexpr (N == 8)
      return reinterpret_cast<Ints<N>>(
          _mm256_permutevar8x32_epi32(reinterpret_cast<__m256i>(value), reinterpret_cast<__m256i>(order_)));
  }
  HEADROOM_INLINE Floats<N> operator()(Floats<N> value) const {
#if defined(__AVX512F__)
    if constexpr (N == 16)
      return reinterpret_cast<Floats<N>>(_mm512_maskz_compress_ps(order_, reinterpret_cast<__m512>(value)));
#endif
    if constexpr (N == 8)
      return reinterpret_cast<Floats<N>>(
          _mm256_permutevar8x32_ps(reinterpret_cast<__m256>(value), reinterpret_cast<__m256i>(order_)));
  }
  HEADROOM_INLINE int count() const {
    return count_;
  }

 private:
  Mask<N> order_;
  int count_;
};
#endif

}  // namespace
}  // namespace headroom::kernels::cpu
