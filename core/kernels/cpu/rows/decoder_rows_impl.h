// SPDX-License-Identifier: Apache-2.0
// The bodies of decoder_rows.h on vectors of N lanes, for the file of each instruction set. Multiplications and
// additions stay apart (-ffp-contract=off) and sums have a fixed order, so that every set gives the same bits.
#pragma once

#include "kernels/cpu/rows/decoder_rows.h"
#include "kernels/cpu/vectors.h"

namespace headroom::kernels::cpu {
namespace {

// What a store and a load make of x.
template <int N>
HEADROOM_INLINE Floats<N> rounded_to(const float*, Floats<N> x) {
  return x;
}
template <int N>
HEADROOM_INLINE Floats<N> rounded_to(const Bf16*, Floats<N> x) {
  return reinterpret_cast<Floats<N>>(round_to_high_half<N>(x) & 0xffff0000u);
}

// body(i, count) over 0, N, 2N …; only the last call's count may be below N.
template <int N, typename F>
HEADROOM_INLINE void for_lanes(std::int64_t n, F&& body) {
  std::int64_t i = 0;
  for (; i + N <= n; i += N) body(i, std::int64_t{N});
  if (i < n) body(i, n - i);
}

// Sums of squares run in this many lanes whatever N is: short chains of additions, and one order for every set.
constexpr int square_lanes = 32;

template <int N, typename T>
HEADROOM_INLINE float mean_square(const T* row, std::int64_t width) {
  Floats<N> sums[square_lanes / N] = {};
  std::int64_t i = 0;
  for (; i + square_lanes <= width; i += square_lanes) {
#pragma GCC unroll 8
    for (int part = 0; part < square_lanes / N; ++part) {
      const Floats<N> x = load<N>(row + i + part * N);
      sums[part] += x * x;
    }
  }
#pragma GCC unroll 8
  for (int part = 0; part < square_lanes / N; ++part) {
    if (i + part * N >= width) break;
    const Floats<N> x = load<N>(row + i + part * N, width - i - part * N);
    sums[part] += x * x;
  }
  float lanes[square_lanes];
  __builtin_memcpy(lanes, sums, sizeof lanes);
  for (int half = square_lanes / 2; half > 0; half /= 2) {
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
        store<N>(hidden + i, load<N>(hidden + i, count) + load<N>(addend + i, count), count);
      });
    }
    if (!a.out) continue;
    T* out = static_cast<T*>(a.out) + r * a.width;
    const float inverse = 1.0f / __builtin_sqrtf(mean_square<N>(hidden, a.width) + a.epsilon);
    for_lanes<N>(a.width, [&](std::int64_t i, std::int64_t count) HEADROOM_INLINE_LAMBDA {
      store<N>(out + i, load<N>(hidden + i, count) * inverse * load<N>(a.weight + i, count), count);
    });
  }
}

// exp(x) to about 1e-7; +inf above 89, near 0 below -80 (added to 1 it does not count), NaN as +inf.
template <int N, int Count>
HEADROOM_INLINE void exp_in_place(Floats<N> (&x)[Count]) {
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { x[i] = x[i] < 89.0f ? x[i] : splat<N>(89.0f); });
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { x[i] = x[i] > -80.0f ? x[i] : splat<N>(-80.0f); });
  Ints<N> power[Count];
  split_exp<N>(x, power);
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA {
    const Ints<N> half_power = (power[i] + 126) << 23;  // half the power: 2^128 has no float
    x[i] = x[i] * reinterpret_cast<Floats<N>>(half_power) * 2.0f;
  });
}

// Count vectors, of which only the last elements of a single one may be missing.
template <int N, int Count, typename T>
HEADROOM_INLINE void gate_lanes(const T* gate, const T* up, T* out, std::int64_t count = N) {
  Floats<N> x[Count], power[Count];
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA {
    x[i] = load<N>(gate + i * N, count);
    power[i] = -x[i];
  });
  exp_in_place<N>(power);
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { x[i] = x[i] / (power[i] + 1.0f); });
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { x[i] = rounded_to<N>(out, x[i]); });
  each<Count>([&](int i) HEADROOM_INLINE_LAMBDA { store<N>(out + i * N, x[i] * load<N>(up + i * N, count), count); });
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
        const Floats<N> x = load<N>(from + i, count), y = load<N>(from + half + i, count);
        const Floats<N> c = load<N>(cosine + i, count), s = load<N>(sine + i, count);
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
