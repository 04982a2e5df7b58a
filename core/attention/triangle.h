// SPDX-License-Identifier: Apache-2.0
// Sinks, a window, and last rows that attend to everything: what tri-shape and the triangle mix have in common.
#pragma once

#include <cstdint>

#include "attention/policy.h"

namespace headroom::attention {

struct TriangleShape {
  std::int64_t keys = 0;        ///< of each row before the last ones: sinks and window
  std::int64_t whole_rows = 0;  ///< the last rows, which attend to their whole history
};

/// The shape that keeps no more pairs than `tokens` keys a row do. The last rows, at most `last` and no more than half
/// of the pairs pay for, are whole; the others share what is left. All keys where `tokens` >= `length`.
TriangleShape triangle_shape(std::int64_t length, std::int64_t tokens, std::int64_t last);

/// Its keys under the rule's budget and sinks.
WrittenKeys triangle_keys(std::int64_t length, const SelectionRule& rule, std::int64_t last);

/// "last": rows at the end of the prompt that attend to everything.
PolicyParameter last_rows_parameter();

}  // namespace headroom::attention
