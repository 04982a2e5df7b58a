// SPDX-License-Identifier: Apache-2.0
// The few distributions that intervals and tests need, and random numbers that are the same everywhere.
#pragma once

#include <cstdint>

namespace headroom::statistics {

/// Lower tail of the standard normal distribution.
double normal_tail(double z);
/// Its inverse; `probability` in (0, 1).
double normal_quantile(double probability);
/// Of Student's t with `freedom` >= 1 degrees, by its expansion around the normal one: within 1e-3 from 10 degrees on.
double t_quantile(double probability, double freedom);
/// P(X <= k) of a fair coin thrown n times.
double coin_tail(std::int64_t k, std::int64_t n);

/// SplitMix64 (Steele, Lea, Flood 2014).
class Generator {
 public:
  explicit Generator(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  /// Uniform in 0 … count - 1; count below 2^32.
  std::uint32_t below(std::uint32_t count) { return static_cast<std::uint32_t>((next() >> 32) * count >> 32); }
  /// Uniform in [0, 1).
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

}  // namespace headroom::statistics
