// SPDX-License-Identifier: Apache-2.0
#include "base/support_bitmap.h"

#include <bit>

namespace headroom {

std::int64_t SupportBitmap::count(std::int64_t query, std::int64_t key_begin, std::int64_t key_end) const {
  std::int64_t total = 0;
  std::int64_t key = key_begin;
  for (; key < key_end && (key & 7) != 0; ++key) total += test(query, key);
  const auto bytes = row(query);
  for (; key + 8 <= key_end; key += 8) total += std::popcount(bytes[static_cast<std::size_t>(key >> 3)]);
  for (; key < key_end; ++key) total += test(query, key);
  return total;
}

std::int64_t SupportBitmap::count_all() const {
  std::int64_t total = 0;
  for (const std::uint8_t byte : bits_) total += std::popcount(byte);
  return total;
}

}  // namespace headroom
