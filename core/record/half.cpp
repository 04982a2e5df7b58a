// SPDX-License-Identifier: Apache-2.0
#include "record/half.h"

#include <bit>
#include <cmath>

namespace headroom::record {

float from_half(std::uint16_t half) {
  // Moves exponent and mantissa into place, then lets a multiplication by 2^112 fix the bias and the subnormals.
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t rest = static_cast<std::uint32_t>(half & 0x7fffu) << 13;
  std::uint32_t bits = std::bit_cast<std::uint32_t>(std::bit_cast<float>(rest) * 0x1p112f);
  if ((half & 0x7c00u) == 0x7c00u) bits |= 0x7f800000u;
  return std::bit_cast<float>(bits | sign);
}

std::uint16_t to_half(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00u;
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // rounds to 65536 or more
  if (magnitude < 0x38800000u) {                        // below 2^-14: subnormal, in steps of 2^-24
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p24f;
    return static_cast<std::uint16_t>(sign | static_cast<std::uint16_t>(std::nearbyint(scaled)));
  }
  const std::uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

std::vector<std::uint16_t> to_half_lossless(std::span<const float> values) {
  std::vector<std::uint16_t> halves(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    halves[i] = to_half(values[i]);
    if (!std::isfinite(values[i]) || from_half(halves[i]) != values[i]) return {};
  }
  return halves;
}

void from_half(std::span<const std::uint16_t> halves, float* out) {
  for (std::size_t i = 0; i < halves.size(); ++i) out[i] = from_half(halves[i]);
}

}  // namespace headroom::record
