// SPDX-License-Identifier: Apache-2.0
// IEEE binary16 to and from float, for q and k in a record. Internal to core/record.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace headroom::record {

/// Nearest, ties to even; overflow gives infinity.
std::uint16_t to_half(float value);
float from_half(std::uint16_t half);
/// The 16-bit form of all values, or empty where one of them would not survive the round trip (non-finite included).
std::vector<std::uint16_t> to_half_lossless(std::span<const float> values);
void from_half(std::span<const std::uint16_t> halves, float* out);

}  // namespace headroom::record
