// SPDX-License-Identifier: Apache-2.0
// The bodies of decoder_rows.h on vectors of N lanes; included by the file of each instruction set, which compiles them
// in its own anonymous namespace. Multiplications and additions stay apart (-ffp-contract=off) and sums have a fixed
// order, so that every set gives the same bits.
#pragma once

#include "kernels/cpu/decoder_rows.h"

namespace headroom::kernels::cpu {
namespace {

#define HEADROOM_INLINE __attribute__((always_inline)) inline
#define HEADROOM_INLINE_LAMBDA __attribute__((always_inline))

template <int N>
struct Lanes;  // specialised: GCC drops a vector size that depends on N
#define HEADROOM_LANES(n)                                             \
  template <>                                                         \
  struct Lanes<n> {                                                   \
    using Floats = float __attribute__((vector_size(4 * n)));         \
    using Words = std::uint32_t __attribute__((vector_size(4 * n)));  \
    using Halves = std::uint16_t __attribute__((vector_size(2 * n))); \
  };
HEADROOM_LANES(4)
HEADROOM_LANES(8)
HEADROOM_LANES(16)
#undef HEADROOM_LANES
template <int N>
using Floats = typename Lanes<N>::Floats;
template <int N>
using Words = typename Lanes<N>::Words;

struct Bf16 {
  std::uint16_t bits;
};

template <typename To, typename From>
HEADROOM_INLINE void bit_copy(To& to, const From& from) {
  static_assert(sizeof to == sizeof from);
  __builtin_memcpy(&to, &from, sizeof to);
}

// `count` < N loads that many elements and zeros behind them; N is known to the compiler nearly everywhere.
template <int N>
HEADROOM_INLINE void load(Floats<N>& to, const float* from, std::int64_t count = N) {
  if (count >= N) {
    __builtin_memcpy(&to, from, sizeof to);
  } else {
    to = Floats<N>{};
    __builtin_memcpy(&to, from, static_cast<std::size_t>(count) * sizeof *from);
  }
}
template <int N>
HEADROOM_INLINE void load(Floats<N>& to, const Bf16* from, std::int64_t count = N) {
  typename Lanes<N>::Halves halves{};
  if (count >= N) {
    __builtin_memcpy(&halves, from, sizeof halves);
  } else {
    __builtin_memcpy(&halves, from, static_cast<std::size_t>(count) * sizeof *from);
  }
  const Words<N> bits = __builtin_convertvector(halves, Words<N>) << 16;
  bit_copy(to, bits);
}

template <int N>
HEADROOM_INLINE void store(float* to, const Floats<N>& from, std::int64_t count = N) {
  __builtin_memcpy(to, &from, count >= N ? sizeof from : static_cast<std::size_t>(count) * sizeof *to);
}
// x in the high half of each word, to nearest even. NaN stays NaN: one that comes of bf16 values, or of no number at
// all (inf - inf), has nothing in its low half that could carry; fp32 weights and tables are finite.
template <int N>
HEADROOM_INLINE void round_bits(Words<N>& bits, const Floats<N>& x) {
  bit_copy(bits, x);
  bits += 0x7fff + ((bits >> 16) & 1);
}
template <int N>
HEADROOM_INLINE void store(Bf16* to, const Floats<N>& from, std::int64_t count = N) {
  Words<N> bits;
  round_bits<N>(bits, from);
  const auto halves = __builtin_convertvector(bits >> 16, typename Lanes<N>::Halves);
  __builtin_memcpy(to, &halves, count >= N ? sizeof halves : static_cast<std::size_t>(count) * sizeof *to);
}

// What a store and a load make of x.
template <int N>
HEADROOM_INLINE void round_to(const float*, Floats<N>&) {}
template <int N>
HEADROOM_INLINE void round_to(const Bf16*, Floats<N>& x) {
  Words<N> bits;
  round_bits<N>(bits, x);
  bits &= 0xffff0000u;
  bit_copy(x, bits);
}

// body(i, count) over 0, N, 2N …; only the last call's count may be below N.
template <int N, typename F>
HEADROOM_INLINE void for_lanes(std::int64_t n, F&& body) {
  std::int64_t i = 0;
  for (; i + N <= n; i += N) body(i, std::int64_t{N});
  if (i < n) body(i, n - i);
}

// Sums of squares run in this many lanes whatever N is: short chains of additions, and one order for every set.
constexpr int sum_lanes = 32;

template <int N, typename T>
HEADROOM_INLINE float mean_square(const T* row, std::int64_t width) {
  Floats<N> sums[sum_lanes / N] = {};
  std::int64_t i = 0;
  for (; i + sum_lanes <= width; i += sum_lanes) {
#pragma GCC unroll 8
    for (int part = 0; part < sum_lanes / N; ++part) {
      Floats<N> x;
      load<N>(x, row + i + part * N);
      sums[part] += x * x;
    }
  }
#pragma GCC unroll 8
  for (int part = 0; part < sum_lanes / N; ++part) {
    if (i + part * N >= width) break;
    Floats<N> x;
    load<N>(x, row + i + part * N, width - i - part * N);
    sums[part] += x * x;
  }
  float lanes[sum_lanes];
  bit_copy(lanes, sums);
  for (int half = sum_lanes / 2; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) lanes[j] += lanes[j + half];
  }
  return lanes[0] / static_cast<float>(width);
}

template <int N, typename T>
HEADROOM_INLINE void norm_rows(const NormRows& a) {
  for (std::int64_t r = 0; r < a.rows; ++r) {
    T* hidden = static_cast<T*>(a.hidden) + r * a.width;
    if (a.addend) {
      const T* addend = static_cast<const T*>(a.addend) + r * a.width;
      for_lanes<N>(a.width, [&](std::int64_t i, std::int64_t count) HEADROOM_INLINE_LAMBDA {
        Floats<N> x, y;
        load<N>(x, hidden + i, count);
        load<N>(y, addend + i, count);
        store<N>(hidden + i, x + y, count);
      });
    }
    if (!a.out) continue;
    T* out = static_cast<T*>(a.out) + r * a.width;
    const float inverse = 1.0f / __builtin_sqrtf(mean_square<N>(hidden, a.width) + a.epsilon);
    for_lanes<N>(a.width, [&](std::int64_t i, std::int64_t count) HEADROOM_INLINE_LAMBDA {
      Floats<N> x, weight;
      load<N>(x, hidden + i, count);
      load<N>(weight, a.weight + i, count);
      store<N>(out + i, x * inverse * weight, count);
    });
  }
}

// f(0) … f(Count - 1), one after the other: a step of that many independent chains.
template <int Count, typename F>
HEADROOM_INLINE void each(F&& f) {
#pragma GCC unroll 8
  for (int i = 0; i < Count; ++i) f(i);
}

// exp(x) to about 1e-7; +inf above 89, near 0 below -80 (added to 1 it does not count), NaN as +inf. Range reduction by
// powers of two, then Taylor to degree 7 (remainder below 1e-8). Count vectors step by step: one alone would wait for
// its own results most of the time, in a chain too long for the processor to look past.
template <int N, int Count>
HEADROOM_INLINE void exp_in_place(Floats<N> (&x)[Count]) {
  constexpr float log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
  constexpr float rounder = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number in the low bits
  constexpr float factors[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
  Floats<N> shifted[Count], r[Count], y[Count];
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { x[i] = x[i] < 89.0f ? x[i] : Floats<N>{} + 89.0f; });
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { x[i] = x[i] > -80.0f ? x[i] : Floats<N>{} - 80.0f; });
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { shifted[i] = x[i] * log2_e + rounder; });
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA {
    const Floats<N> whole = shifted[i] - rounder;
    r[i] = (x[i] - whole * ln2_high) - whole * ln2_low;
  });
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { y[i] = r[i] * (1.0f / 5040) + factors[0]; });
#pragma GCC unroll 8
  for (int step = 1; step < 7; ++step)
    each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { y[i] = y[i] * r[i] + factors[step]; });
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA {
    Words<N> bits;
    bit_copy(bits, shifted[i]);
    bits = (bits - 0x4b400000 + 126) << 23;  // half the power: 2^128 has no float
    Floats<N> half_power;
    bit_copy(half_power, bits);
    x[i] = y[i] * half_power * 2.0f;
  });
}

// Count vectors, of which only the last elements of a single one may be missing.
template <int N, int Count, typename T>
HEADROOM_INLINE void gate_lanes(const T* gate, const T* up, T* out, std::int64_t count = N) {
  Floats<N> x[Count], power[Count];
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA {
    load<N>(x[i], gate + i * N, count);
    power[i] = -x[i];
  });
  exp_in_place<N>(power);
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { x[i] = x[i] / (power[i] + 1.0f); });
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { round_to<N>(out, x[i]); });
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA {
    Floats<N> y;
    load<N>(y, up + i * N, count);
    store<N>(out + i * N, x[i] * y, count);
  });
}

template <int N, typename T>
HEADROOM_INLINE void gate_rows(const GateRows& a) {
  constexpr int together = N == 16 ? 4 : 2;  // as many as the registers hold
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const T* gate = static_cast<const T*>(a.gate_up) + r * 2 * a.width;
    const T* up = gate + a.width;
    T* out = static_cast<T*>(a.out) + r * a.width;
    std::int64_t i = 0;
    for (; i + together * N <= a.width; i += together * N) gate_lanes<N, together>(gate + i, up + i, out + i);
    for_lanes<N>(a.width - i, [&](std::int64_t j, std::int64_t count) HEADROOM_INLINE_LAMBDA {
      gate_lanes<N, 1>(gate + i + j, up + i + j, out + i + j, count);
    });
  }
}

template <int N, typename T>
HEADROOM_INLINE void rope_rows(const RopeRows& a) {
  const std::int64_t d = a.head_dim, half = d / 2, columns = (a.num_q_heads + 2 * a.num_kv_heads) * d;
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const T* from = static_cast<const T*>(a.qkv) + r * columns;
    const float *cosine = a.cosine + r * half, *sine = a.sine + r * half;
    const std::int64_t place = a.first + r;
    for (std::int64_t h = 0; h < a.num_q_heads + a.num_kv_heads; ++h, from += d) {
      T* to = h < a.num_q_heads ? static_cast<T*>(a.q) + (h * a.places + place) * d
                                : static_cast<T*>(a.k) + ((h - a.num_q_heads) * a.places + place) * d;
      for_lanes<N>(half, [&](std::int64_t i, std::int64_t count) HEADROOM_INLINE_LAMBDA {
        Floats<N> x, y, c, s;
        load<N>(x, from + i, count);
        load<N>(y, from + half + i, count);
        load<N>(c, cosine + i, count);
        load<N>(s, sine + i, count);
        store<N>(to + i, x * c - y * s, count);
        store<N>(to + half + i, y * c + x * s, count);
      });
    }
    for (std::int64_t h = 0; h < a.num_kv_heads; ++h, from += d)
      __builtin_memcpy(static_cast<T*>(a.v) + (h * a.places + place) * d, from,
                       static_cast<std::size_t>(d) * sizeof(T));
  }
}

template <int N>
void norm(Element element, const NormRows& arguments) {
  element == Element::bf16 ? norm_rows<N, Bf16>(arguments) : norm_rows<N, float>(arguments);
}
template <int N>
void gate(Element element, const GateRows& arguments) {
  element == Element::bf16 ? gate_rows<N, Bf16>(arguments) : gate_rows<N, float>(arguments);
}
template <int N>
void rope(Element element, const RopeRows& arguments) {
  element == Element::bf16 ? rope_rows<N, Bf16>(arguments) : rope_rows<N, float>(arguments);
}

}  // namespace
}  // namespace headroom::kernels::cpu
