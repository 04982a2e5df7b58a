// SPDX-License-Identifier: Apache-2.0
// The search itself, for inclusion by top_k_<instruction set>.cpp only: everything is in an anonymous namespace and
// calls no external inline function, so nothing compiled for one instruction set can be linked elsewhere.
//
// A strided sample gives a floor that almost surely lies a little below the wanted-th largest. One pass over the row
// keeps what reaches it, values and positions. A secant search counts survivors above a probe until the count is the
// wanted one; no exact threshold is needed then, and where there is none (ties), the bracket closes on the tied value.
#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cpu/top_k_kernels.h"

namespace headroom::kernels::cpu {
namespace {

constexpr std::int64_t sample_size = 256;
constexpr std::int64_t smallest_sampled_row = 768;

/// Floats as integers of the same order, NaN apart. Both zeros have the image of +0; that of -0 is a probe like any other.
inline std::uint32_t image_of(float value) {
  value += 0.0f;
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
inline float value_of(std::uint32_t image) {
  const std::uint32_t bits = image & 0x80000000u ? image & 0x7fffffffu : ~image;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
constexpr std::uint32_t image_of_minus_infinity = 0x007fffffu;

/// lo is reached by count_lo >= wanted values, hi by count_hi < wanted. hi may be the image of a NaN: reached by none.
struct Bracket {
  std::uint32_t lo, hi;
  std::int64_t count_lo, count_hi;
};

/// Narrows the bracket until count_lo is at most wanted + slack, or lo and hi are neighbours (ties at lo). `probe` is
/// the first guess.
template <class Ops>
inline void narrow(const float* values, std::int64_t n, std::int64_t wanted, std::int64_t slack, std::uint32_t probe,
                   Bracket& b) {
  std::uint32_t last = b.lo;
  std::int64_t last_count = b.count_lo;
  for (int step = 0; b.count_lo > wanted + slack && b.hi - b.lo > 1; ++step) {
    if (probe <= b.lo || probe >= b.hi || (step > 6 && step % 2 == 1)) probe = b.lo + (b.hi - b.lo) / 2;
    const std::int64_t count = Ops::count(values, n, value_of(probe));
    // Secant through the last two probes; it aims at the middle of the accepted counts.
    const auto slope_images = static_cast<double>(static_cast<std::int64_t>(probe) - static_cast<std::int64_t>(last));
    const auto slope_counts = static_cast<double>(last_count - count);
    const double missing = static_cast<double>(count - wanted) - 0.5 * static_cast<double>(slack);
    if (count >= wanted) {
      b.lo = probe;
      b.count_lo = count;
    } else {
      b.hi = probe;
      b.count_hi = count;
    }
    last = probe;
    last_count = count;
    double next = static_cast<double>(probe);
    if (slope_counts != 0) next += missing * slope_images / slope_counts;
    probe = next > static_cast<double>(b.lo) && next < static_cast<double>(b.hi) ? static_cast<std::uint32_t>(next)
                                                                                 : b.lo + (b.hi - b.lo) / 2;
  }
}

/// Positions of the `wanted` largest of n values, of which `reaching` >= wanted are >= value_of(lo). `positions` null:
/// value i stands at i.
template <class Ops>
inline void finish(const float* values, const std::int32_t* positions, std::int64_t n, std::int64_t reaching,
                   std::int64_t wanted, std::uint32_t lo, std::uint32_t guess, std::int32_t offset, std::int32_t* out) {
  Bracket b{lo, image_of(Ops::max(values, n)) + 1, reaching, 0};
  narrow<Ops>(values, n, wanted, 0, guess, b);
  const float floor = value_of(b.lo);
  std::int64_t end_of_ties = n;
  if (b.count_lo > wanted) {
    // Ties at the floor: the first of them that has no place, and behind it only what is above.
    std::int64_t ties = wanted - b.count_hi;
    for (end_of_ties = 0;; ++end_of_ties)
      if (values[end_of_ties] == floor && ties-- == 0) break;
  }
  std::int32_t* const end = out + wanted;
  out = Ops::emit(values, positions, 0, end_of_ties, floor, offset, out, end);
  if (end_of_ties < n) Ops::emit(values, positions, end_of_ties, n, value_of(b.hi), offset, out, end);
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

template <class Ops>
inline void largest(const float* scores, std::int64_t n, std::int64_t wanted, std::int32_t offset, std::int32_t* out,
                    float* values, std::int32_t* positions) {
  if (n >= smallest_sampled_row) {
    alignas(64) float sample[sample_size];
    // An odd stride visits every residue of the keys' own periods.
    const std::int64_t stride = (n / sample_size - 1) | 1;
    for (std::int64_t i = 0; i < sample_size; ++i) sample[i] = scores[i * stride];
    const double expected = static_cast<double>(wanted) * static_cast<double>(sample_size) / static_cast<double>(n);
    const double deviation = Ops::square_root(expected * (1 - static_cast<double>(wanted) / static_cast<double>(n)));
    const auto rank = static_cast<std::int64_t>(expected + 3 * deviation + 1.5);
    const std::int64_t ordered = rank < sample_size ? Ops::count(sample, sample_size, -__builtin_inff()) : 0;
    if (rank < ordered) {
      const std::uint32_t top = image_of(Ops::max(sample, sample_size)) + 1;
      Bracket b{image_of(Ops::min(sample, sample_size)), top, ordered, 0};
      const auto guess = [&](std::int64_t r) {  // as if the sample were spread evenly
        return b.hi - static_cast<std::uint32_t>(static_cast<double>(b.hi - b.lo) * static_cast<double>(r) /
                                                 static_cast<double>(b.count_lo));
      };
      narrow<Ops>(sample, sample_size, rank, 4, guess(rank), b);
      const std::uint32_t lo = b.lo;
      b.hi = top;
      b.count_hi = 0;
      const auto middle = static_cast<std::int64_t>(expected) + 1;
      narrow<Ops>(sample, sample_size, middle, 4, guess(middle), b);
      const std::int64_t kept = Ops::keep(scores, n, value_of(lo), values, positions);
      if (kept >= wanted) {
        finish<Ops>(values, positions, kept, kept, wanted, lo, b.lo, offset, out);
        return;
      }
    }
  }
  const std::int64_t ordered = Ops::count(scores, n, -__builtin_inff());
  if (ordered < wanted) {
    fill_with_nan(scores, n, wanted - ordered, offset, out);
    return;
  }
  const std::uint32_t lo = ordered > wanted ? image_of(Ops::min(scores, n)) : image_of_minus_infinity;
  finish<Ops>(scores, nullptr, n, ordered, wanted, lo, lo, offset, out);
}

}  // namespace
}  // namespace headroom::kernels::cpu
