// SPDX-License-Identifier: Apache-2.0
// Counting the pairs of causal attention.
#pragma once

#include <cstdint>

namespace headroom {

/// Pairs of a query and a key that causal attention scores over `length` tokens, as a double: exact below 2^53.
inline double causal_pairs(std::int64_t length) {
  return 0.5 * static_cast<double>(length) * static_cast<double>(length + 1);
}

}  // namespace headroom
