// SPDX-License-Identifier: Apache-2.0
// The keys that a row's support holds whatever is known of them, and what they leave to choose.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace headroom::kernels::cpu {

/// Keys that are selected whatever their score: [0, first) and [n - last, n). `last` >= 1, so a row's own key is in.
struct ForcedRange {
  std::int64_t first = 0;
  std::int64_t last = 1;
};

/// A support of n keys' history: [0, first), `wanted` of [first, tail), and [tail, n).
struct OpenChoice {
  std::int64_t first = 0, tail = 0, wanted = 0;
};

/// What is left to choose where k of n keys are selected (k, n >= 1), forced ones first and counted. Empty where
/// nothing is: then min(k, n) positions are in `indices`, ascending. If forced keys alone exceed k, the row's own position
/// is kept, then the first positions, then the newest of the others.
inline std::optional<OpenChoice> open_choice(std::int64_t n, std::int64_t k, const ForcedRange& forced,
                                             std::int32_t* indices) {
  const std::int64_t first = std::clamp<std::int64_t>(forced.first, 0, n);
  const std::int64_t tail = std::max(first, n - std::max<std::int64_t>(1, forced.last));
  const std::int64_t wanted = k - first - (n - tail);
  if (k < n && wanted > 0) return OpenChoice{first, tail, wanted};
  const std::int64_t keys = std::min(k, n), kept = std::min(first, keys - 1);
  for (std::int64_t i = 0; i < keys; ++i) indices[i] = static_cast<std::int32_t>(i < kept ? i : n - keys + i);
  return {};
}

}  // namespace headroom::kernels::cpu
