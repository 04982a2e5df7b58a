// SPDX-License-Identifier: Apache-2.0
#include "record/crc32c.h"

#include <array>
#include <cstring>

#ifdef __SSE4_2__
#include <nmmintrin.h>
#endif

namespace headroom::record {

std::uint32_t crc32c_by_table(std::span<const std::uint8_t> bytes, std::uint32_t previous) {
  static const std::array<std::uint32_t, 256> table = [] {
    std::array<std::uint32_t, 256> entries{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0u);
      entries[i] = value;
    }
    return entries;
  }();
  std::uint32_t crc = ~previous;
  for (const std::uint8_t byte : bytes) crc = crc >> 8 ^ table[(crc ^ byte) & 0xff];
  return ~crc;
}

std::uint32_t crc32c(std::span<const std::uint8_t> bytes, std::uint32_t previous) {
#ifdef __SSE4_2__
  std::uint64_t crc = static_cast<std::uint32_t>(~previous);
  const std::uint8_t* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    crc = _mm_crc32_u64(crc, word);
  }
  auto rest = static_cast<std::uint32_t>(crc);
  for (; left > 0; ++at, --left) rest = _mm_crc32_u8(rest, *at);
  return ~rest;
#else
  return crc32c_by_table(bytes, previous);
#endif
}

}  // namespace headroom::record
