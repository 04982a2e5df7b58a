// SPDX-License-Identifier: Apache-2.0
// Internal to top_k: the search itself, on vectors of N lanes that can be compared and packed. For the files of one
// instruction set alone, as vectors.h is; empty where that set has no AVX2.
//
// A strided sample gives a floor that almost surely lies a little below the wanted-th largest. One pass over the row
// keeps what reaches it, values and positions. A secant search counts survivors above a probe until the count is the
// wanted one; no exact threshold is needed then, and where there is none (ties), the bracket closes on the tied value.
#pragma once

#include "kernels/cpu/select/top_k_kernels.h"
#include "kernels/cpu/vectors.h"

#if defined(__AVX2__)

namespace headroom::kernels::cpu {
namespace {

/// Without the check for an error that a call would have.
HEADROOM_INLINE double square_root(double x) {
  return _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set_sd(x)));
}

/// How many of n values are at least `floor`.
template <int N>
inline std::int64_t count_reaching(const float* values, std::int64_t n, float floor) {
  const Floats<N> least = splat<N>(floor);
  Ints<N> counts[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * N <= n; i += 4 * N)
    each<4>([&](int part) HEADROOM_INLINE_LAMBDA {
      counts[part] = count_in<N>(counts[part], reaching<N>(load<N>(values + i + part * N), least));
    });
  const Floats<N> none = splat<N>(__builtin_nanf(""));
  for (; i < n; i += N) counts[0] = count_in<N>(counts[0], reaching<N>(load_first<N>(values + i, n - i, none), least));
  return sum_lanes<N>((counts[0] + counts[1]) + (counts[2] + counts[3]));
}

/// Of the ordered values; -inf where there is none.
template <int N>
inline float largest_of(const float* values, std::int64_t n) {
  const Floats<N> lowest = splat<N>(-__builtin_inff());
  Floats<N> tops[2] = {lowest, lowest};
  std::int64_t i = 0;
  for (; i + 2 * N <= n; i += 2 * N)
    each<2>([&](int part)
                HEADROOM_INLINE_LAMBDA { tops[part] = larger<N>(tops[part], load<N>(values + i + part * N)); });
  for (; i < n; i += N) tops[0] = larger<N>(tops[0], load_first<N>(values + i, n - i, lowest));
  return largest_lane<N>(larger<N>(tops[0], tops[1]));
}
/// Of the ordered values; +inf where there is none.
template <int N>
inline float smallest_of(const float* values, std::int64_t n) {
  const Floats<N> highest = splat<N>(__builtin_inff());
  Floats<N> bottoms[2] = {highest, highest};
  std::int64_t i = 0;
  for (; i + 2 * N <= n; i += 2 * N)
    each<2>([&](int part)
                HEADROOM_INLINE_LAMBDA { bottoms[part] = smaller<N>(bottoms[part], load<N>(values + i + part * N)); });
  for (; i < n; i += N) bottoms[0] = smaller<N>(bottoms[0], load_first<N>(values + i, n - i, highest));
  return smallest_lane<N>(smaller<N>(bottoms[0], bottoms[1]));
}

/// Compacts what reaches the floor, values and positions. Whole vectors are stored: packing to memory is microcoded on
/// some processors.
template <int N>
inline std::int64_t keep_reaching(const float* scores, std::int64_t n, float floor, float* values,
                                  std::int32_t* positions) {
  const Floats<N> least = splat<N>(floor), none = splat<N>(__builtin_nanf(""));
  Ints<N> at = lane_numbers<N>();
  std::int64_t kept = 0;
  const auto keep = [&](Floats<N> x) HEADROOM_INLINE_LAMBDA {
    const Packing<N> pack(reaching<N>(x, least));
    store<N>(values + kept, pack(x));
    store<N>(positions + kept, pack(at));
    kept += pack.count();
    at += N;
  };
  std::int64_t i = 0;
  for (; i + N <= n; i += N) keep(load<N>(scores + i));
  if (i < n) keep(load_first<N>(scores + i, n - i, none));
  return kept;
}

/// Writes offset + position of values[begin … end) that reach the floor, nothing behind `out_end`. `place` gives the
/// positions of the N values from i on, called in order.
template <int N, class Place>
HEADROOM_INLINE std::int32_t* emit_places(const float* values, std::int64_t begin, std::int64_t end, float floor,
                                          std::int32_t* out, const std::int32_t* out_end, const Place& place) {
  const Floats<N> least = splat<N>(floor), none = splat<N>(__builtin_nanf(""));
  std::int64_t i = begin;
  for (; i + N <= end && out_end - out >= N; i += N) {
    const Packing<N> pack(reaching<N>(load<N>(values + i), least));
    store<N>(out, pack(place(i)));
    out += pack.count();
  }
  for (; i < end && out < out_end; i += N) {
    const Packing<N> pack(reaching<N>(load_first<N>(values + i, end - i, none), least));
    store_first<N>(out, out_end - out, pack(place(i)));
    out += pack.count();
  }
  return out;
}
/// `positions` null: value i stands at i. Else whole vectors of them are read: the buffer has places behind its values.
template <int N>
inline std::int32_t* emit_reaching(const float* values, const std::int32_t* positions, std::int64_t begin,
                                   std::int64_t end, float floor, std::int32_t offset, std::int32_t* out,
                                   const std::int32_t* out_end) {
  if (positions) {
    const auto place = [&](std::int64_t i) HEADROOM_INLINE_LAMBDA { return load<N>(positions + i) + offset; };
    return emit_places<N>(values, begin, end, floor, out, out_end, place);
  }
  Ints<N> next = lane_numbers<N>() + (offset + static_cast<std::int32_t>(begin));
  const auto place = [&](std::int64_t) HEADROOM_INLINE_LAMBDA {
    const Ints<N> at = next;
    next += N;
    return at;
  };
  return emit_places<N>(values, begin, end, floor, out, out_end, place);
}

constexpr std::int64_t sample_size = 256;
constexpr std::int64_t smallest_sampled_row = 512;

/// Floats as integers of the same order, NaN apart. Both zeros have the image of +0; that of -0 is a probe like any
/// other.
inline std::uint32_t image_of(float value) {
  const auto bits = __builtin_bit_cast(std::uint32_t, value + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
inline float value_of(std::uint32_t image) {
  return __builtin_bit_cast(float, image & 0x80000000u ? image & 0x7fffffffu : ~image);
}
constexpr std::uint32_t image_of_minus_infinity = 0x007fffffu, image_of_zero = 0x80000000u;

/// lo is reached by count_lo >= wanted values, hi by count_hi < wanted. hi may be the image of a NaN: reached by none.
struct Bracket {
  std::uint32_t lo, hi;
  std::int64_t count_lo, count_hi;
};

/// Where to look for a count that differs by `missing` from that of `at`, if `from` differed by `counts`. Where values
/// of both signs are in sight the step is linear in the values, else in their images, which is nearly their logarithm.
inline double secant(std::uint32_t from, std::uint32_t at, double counts, double missing, const Bracket& b) {
  const double factor = missing / counts;
  if (b.lo < image_of_zero && b.hi > image_of_zero) {
    const float to = value_of(at) + static_cast<float>(factor) * (value_of(at) - value_of(from));
    return to == to ? static_cast<double>(image_of(to)) : 0.0;
  }
  return static_cast<double>(at) + factor * (static_cast<double>(at) - static_cast<double>(from));
}

/// Narrows the bracket until count_lo is at most wanted + slack, or lo and hi are neighbours (ties at lo). `probe` is
/// the first guess. Returns a guess at the value that `guessed` keys reach.
template <int N>
inline std::uint32_t narrow(const float* values, std::int64_t n, std::int64_t wanted, std::int64_t slack,
                            std::int64_t guessed, std::uint32_t probe, Bracket& b) {
  std::uint32_t last = b.lo, before = b.lo;
  std::int64_t last_count = b.count_lo, before_count = b.count_lo;
  for (int step = 0; b.count_lo > wanted + slack && b.hi - b.lo > 1; ++step) {
    if (probe <= b.lo || probe >= b.hi || (step > 6 && step % 2 == 1)) probe = b.lo + (b.hi - b.lo) / 2;
    const std::int64_t count = count_reaching<N>(values, n, value_of(probe));
    const bool reached = count >= wanted;  // no branches on it: they could not be predicted
    b.lo = reached ? probe : b.lo;
    b.count_lo = reached ? count : b.count_lo;
    b.hi = reached ? b.hi : probe;
    b.count_hi = reached ? b.count_hi : count;
    before = last;
    before_count = last_count;
    last = probe;
    last_count = count;
    // It aims at the middle of the accepted counts. Equal counts give an infinity or NaN, and that a bisection.
    const double missing = static_cast<double>(count - wanted) - 0.5 * static_cast<double>(slack);
    const double next = secant(before, last, static_cast<double>(before_count - last_count), missing, b);
    probe =
        next > static_cast<double>(b.lo) && next < static_cast<double>(b.hi) ? static_cast<std::uint32_t>(next) : b.lo;
  }
  const double guess = secant(before, last, static_cast<double>(before_count - last_count),
                              static_cast<double>(last_count - guessed), b);
  return guess > 0.0 && guess < 4294967295.0 ? static_cast<std::uint32_t>(guess) : b.lo;
}

/// The value that `rank` keys reach, as if they were spread evenly over the bracket.
inline std::uint32_t even_guess(std::int64_t rank, const Bracket& b) {
  const double guess = secant(b.lo, b.hi, static_cast<double>(b.count_lo), -static_cast<double>(rank), b);
  return guess > static_cast<double>(b.lo) && guess < static_cast<double>(b.hi) ? static_cast<std::uint32_t>(guess)
                                                                                : b.lo;
}

/// An image that no value reaches.
template <int N>
inline std::uint32_t top_of(const float* values, std::int64_t n) {
  return image_of(largest_of<N>(values, n)) + 1;
}

/// Positions of the `wanted` largest of n values. `positions` null: value i stands at i. Not inlined: its registers
/// would be short in keep_reaching's loop.
template <int N>
__attribute__((noinline)) void finish(const float* values, const std::int32_t* positions, std::int64_t n,
                                      std::int64_t wanted, Bracket b, std::uint32_t guess, std::int32_t offset,
                                      std::int32_t* out) {
  narrow<N>(values, n, wanted, 0, wanted, guess, b);
  const float floor = value_of(b.lo);
  std::int64_t end_of_ties = n;
  if (b.count_lo > wanted) {
    // Ties at the floor: the first of them that has no place, and behind it only what is above.
    std::int64_t ties = wanted - b.count_hi;
    for (end_of_ties = 0;; ++end_of_ties)
      if (values[end_of_ties] == floor && ties-- == 0) break;
  }
  std::int32_t* const end = out + wanted;
  out = emit_reaching<N>(values, positions, 0, end_of_ties, floor, offset, out, end);
  if (end_of_ties < n) emit_reaching<N>(values, positions, end_of_ties, n, value_of(b.hi), offset, out, end);
}

/// Fewer than `wanted` values are ordered: they, and the first NaNs.
inline void fill_with_nan(const float* scores, std::int64_t n, std::int64_t nans, std::int32_t offset,
                          std::int32_t* out) {
  for (std::int64_t i = 0; i < n; ++i) {
    const bool nan = scores[i] != scores[i];
    if (nan && nans-- <= 0) continue;
    *out++ = offset + static_cast<std::int32_t>(i);
  }
}

template <int N>
inline void largest(const float* scores, std::int64_t n, std::int64_t wanted, std::int32_t offset, std::int32_t* out,
                    float* values, std::int32_t* positions) {
  // Where much of the row is wanted, leaving out the rest costs more than counting it again.
  if (n >= smallest_sampled_row && 5 * wanted <= n) {
    alignas(64) float sample[sample_size];
    for (std::int64_t i = 0; i < sample_size; ++i) sample[i] = scores[i * n / sample_size];
    const double expected = static_cast<double>(wanted) * static_cast<double>(sample_size) / static_cast<double>(n);
    const double deviation = square_root(expected * (1 - static_cast<double>(wanted) / static_cast<double>(n)));
    const auto rank = static_cast<std::int64_t>(expected + 3 * deviation + 1.5);
    const std::int64_t ordered = count_reaching<N>(sample, sample_size, -__builtin_inff());
    if (rank < ordered) {
      Bracket b{image_of(smallest_of<N>(sample, sample_size)), top_of<N>(sample, sample_size), ordered, 0};
      const std::uint32_t guess =
          narrow<N>(sample, sample_size, rank, 4, static_cast<std::int64_t>(expected) + 1, even_guess(rank, b), b);
      const std::int64_t kept = keep_reaching<N>(scores, n, value_of(b.lo), values, positions);
      if (kept >= wanted) {
        finish<N>(values, positions, kept, wanted, {b.lo, top_of<N>(values, kept), kept, 0}, guess, offset, out);
        return;
      }
    }
  }
  const std::int64_t ordered = count_reaching<N>(scores, n, -__builtin_inff());
  if (ordered < wanted) {
    fill_with_nan(scores, n, wanted - ordered, offset, out);
    return;
  }
  const Bracket b{ordered > wanted ? image_of(smallest_of<N>(scores, n)) : image_of_minus_infinity,
                  top_of<N>(scores, n), ordered, 0};
  finish<N>(scores, nullptr, n, wanted, b, even_guess(wanted, b), offset, out);
}

}  // namespace
}  // namespace headroom::kernels::cpu
#endif
