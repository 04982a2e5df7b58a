// SPDX-License-Identifier: Apache-2.0
// Paths inside a record, in one place for writer and reader (docs/record.md). Internal to core/record.
#pragma once

#include <string>
#include <string_view>

#include "record/types.h"

namespace headroom::record::layout {

inline std::string method(std::string_view id, std::string_view name) {
  return "/methods/" + std::string(id) + "/" + std::string(name);
}
inline std::string layer(std::string_view id, int number, std::string_view name) {
  return "/methods/" + std::string(id) + "/layers/" + std::to_string(number) + "/" + std::string(name);
}
inline const char* support_name(SupportKind kind) {
  switch (kind) {
    case SupportKind::support:
      return "support";
    case SupportKind::target:
      return "target";
    case SupportKind::wasted:
      return "wasted";
  }
  return "";
}
inline std::string supports(std::string_view id, int number, SupportKind kind) {
  return layer(id, number, std::string("supports/") + support_name(kind));
}
/// Where a support that is stored as lists has its rows' offsets and its keys.
inline std::string support_rows(const std::string& support) {
  return support + "/rows";
}
inline std::string support_keys(const std::string& support) {
  return support + "/keys";
}
/// A dataset of stored tiles: "pyramid/7/max".
inline std::string pyramid(std::string_view id, int number, int level, const char* plane) {
  return layer(id, number, "pyramid/" + std::to_string(level) + "/" + plane);
}
/// Attribute of a support's dataset: SHA-256 of the bitmap, or of one head group's.
inline std::string checksum(SupportScope scope, std::size_t group) {
  return scope == SupportScope::layer ? "sha256" : "sha256_" + std::to_string(group);
}

// Plausible limits; anything beyond is refused before it is allocated.
inline constexpr std::int64_t max_tokens = 4LL << 20;
inline constexpr std::int64_t max_text_bytes = 64LL << 20;
inline constexpr std::int64_t max_json_bytes = 16LL << 20;
inline constexpr std::int64_t max_samples = 100'000;
inline constexpr std::int64_t max_statistics = 64;
inline constexpr std::int64_t max_curve_budgets = 4096;
inline constexpr std::int64_t max_thumbnail = 1024;
/// Longer prompts have their supports as lists, and q, k and log-sum-exp in chunks of a tile's rows.
inline constexpr std::int64_t max_bitmap_tokens = 16384;
inline constexpr std::int64_t list_chunk = 65536, stream_chunk_rows = 256;
inline constexpr std::int64_t statistic_name_bytes = 32;

}  // namespace headroom::record::layout
