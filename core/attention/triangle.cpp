// SPDX-License-Identifier: Apache-2.0
#include "attention/triangle.h"

#include <algorithm>
#include <numeric>

#include "kernels/cpu/select/supports.h"

namespace headroom::attention {
namespace {

/// Pairs of rows 0 … rows - 1 with at most `keys` keys each.
std::int64_t window_pairs(std::int64_t rows, std::int64_t keys) {
  const std::int64_t whole = std::min(rows, keys);
  return whole * (whole + 1) / 2 + (rows - whole) * keys;
}

}  // namespace

TriangleShape triangle_shape(std::int64_t length, std::int64_t tokens, std::int64_t last) {
  const std::int64_t budget = window_pairs(length, tokens);
  const auto whole_pairs = [&](std::int64_t rows) {
    return window_pairs(length, length) - window_pairs(length - rows, length);
  };
  TriangleShape shape;
  shape.whole_rows = std::min(last, length);
  while (2 * whole_pairs(shape.whole_rows) > budget && tokens < length) --shape.whole_rows;
  const std::int64_t others = length - shape.whole_rows, left = budget - whole_pairs(shape.whole_rows);
  std::int64_t too_many = length + 1;
  while (too_many - shape.keys > 1) {
    const std::int64_t keys = shape.keys + (too_many - shape.keys) / 2;
    (window_pairs(others, keys) <= left ? shape.keys : too_many) = keys;
  }
  return shape;
}

WrittenKeys triangle_keys(std::int64_t length, const SelectionRule& rule, std::int64_t last) {
  const TriangleShape shape = triangle_shape(length, rule.tokens(length), last);
  const std::int64_t first_whole = length - shape.whole_rows, sinks = rule.forced.sinks;
  WrittenKeys keys;
  keys.most = shape.whole_rows > 0 ? length : shape.keys;
  keys.whole_rows = shape.keys;
  keys.write = WrittenKeys::by_row([=](std::int64_t, std::int64_t row, std::int32_t* to) {
    if (row < first_whole) return kernels::cpu::sink_window_row(row, shape.keys, {sinks, 1}, to);
    std::iota(to, to + row + 1, 0);
    return row + 1;
  });
  return keys;
}

PolicyParameter last_rows_parameter() {
  return {"last", 64, 0, 1e9, "rows at the end of the prompt that attend to their whole history", true};
}

}  // namespace headroom::attention
