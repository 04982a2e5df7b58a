// SPDX-License-Identifier: Apache-2.0
// Random numbers that are the same everywhere: the distributions of <random> differ between standard libraries.
#pragma once

#include <cstdint>
#include <string_view>

namespace headroom::tasks {

/// SplitMix64 (Steele, Lea, Flood 2014), seeded by a task's name and a number.
class Random {
 public:
  Random(std::string_view name, std::uint64_t seed) : state_(seed ^ 0xcbf29ce484222325u) {
    for (const char c : name) state_ = (state_ ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  /// Uniform in [0, 1), 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  /// Uniform in 0 … count - 1; count below 2^32, so that no rounding reaches `count`.
  std::uint64_t below(std::uint64_t count) {
    return static_cast<std::uint64_t>(uniform() * static_cast<double>(count));
  }
  /// Numbers of their own, so that how many are drawn there changes nothing here.
  Random fork() { return Random(next()); }

 private:
  explicit Random(std::uint64_t state) : state_(state) {}

  std::uint64_t state_;
};

}  // namespace headroom::tasks
