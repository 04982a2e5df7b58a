// SPDX-License-Identifier: Apache-2.0
// Probabilities of several rows at once: a long prompt's k lies in the file, and one row after the other would read all
// of it for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <vector>

#include "record/tiles.h"
#include "record/types.h"

namespace headroom::record {

/// The query heads that a selector stands for. Throws an internal error for one that the stream does not have.
std::vector<std::int64_t> stream_heads(const LayerStream& stream, HeadSelector head);

/// `p`: of the row queries[row] at the keys [key, key + p.size()).
using TakeRow = std::function<void(std::size_t row, std::int64_t key, std::span<const float> p)>;

/// Hands on p(query, 0 … query) of each of `queries`, a piece of keys after the other, for all rows that reach it. Rows
/// that the stream does not keep are left out. False once a stop was requested.
bool sweep_rows(const LayerStream& stream, HeadSelector head, std::span<const std::int64_t> queries,
                const TakeRow& take, std::stop_token stop = {});

}  // namespace headroom::record
