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
inline constexpr std::int64_t statistic_name_bytes = 32;

}  // namespace headroom::record::layout
