// SPDX-License-Identifier: Apache-2.0
// Base64 (RFC 4648): how binary data travels inside JSON messages.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headroom::protocol {

std::string base64_encode(std::span<const std::uint8_t> bytes);
/// Throws input errors at `place` for characters outside the alphabet or wrong padding.
std::vector<std::uint8_t> base64_decode(std::string_view text, const std::string& place);

/// Numbers as little-endian bytes in base64: keeps NaN and every bit.
std::string encode_floats(std::span<const float> values);
std::string encode_counts(std::span<const std::uint32_t> values);
/// Throws input errors where there are not exactly `count` of them.
std::vector<float> decode_floats(std::string_view text, std::size_t count, const std::string& place);
std::vector<std::uint32_t> decode_counts(std::string_view text, std::size_t count, const std::string& place);

}  // namespace headroom::protocol
