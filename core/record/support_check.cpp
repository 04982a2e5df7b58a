// SPDX-License-Identifier: Apache-2.0
#include "record/support_check.h"

namespace headroom::record {

std::int64_t first_row_past_query(const SupportBitmap& bitmap) {
  for (std::int64_t query = 0; query < bitmap.length(); ++query) {
    const std::span<const std::uint8_t> row = bitmap.row(query);
    const auto byte = static_cast<std::size_t>((query + 1) / 8);
    std::uint8_t after = 0;
    if (byte < row.size()) after = static_cast<std::uint8_t>(row[byte] >> ((query + 1) & 7));
    for (std::size_t i = byte + 1; i < row.size(); ++i) after |= row[i];
    if (after != 0) return query;
  }
  return -1;
}

}  // namespace headroom::record
