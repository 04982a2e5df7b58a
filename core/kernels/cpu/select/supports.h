// SPDX-License-Identifier: Apache-2.0
// Supports that need no scores of keys: sinks and a window, random keys, block patterns. Written as top_k_row writes
// selected ones: ascending, nothing behind the count. Threads are the caller's; how rows are split into calls leaves no
// trace.
#pragma once

#include <cstdint>

#include "kernels/cpu/select/forced.h"

namespace headroom::kernels::cpu {

/// Rows to write: [begin, end) of the prompt, row t at indices[(t - begin) * width], counts[t - begin] keys of it.
struct RowSupports {
  std::int64_t begin = 0, end = 0;
  std::int32_t* indices = nullptr;  ///< [end - begin, width]
  std::int64_t width = 0;
  std::int32_t* counts = nullptr;  ///< [end - begin]
};

/// The forced keys and the newest others, min(k, row + 1) in all (k >= 1): the same as top_k_row would take of scores
/// that grow with the position. Returns their number.
std::int64_t sink_window_row(std::int64_t row, std::int64_t k, const ForcedRange& forced, std::int32_t* indices);

/// The hash that a layer's random keys come from; the same on every machine.
std::uint64_t random_stream(std::uint64_t seed, std::int64_t layer);

/// For each row t the forced keys and random others, min(k, t + 1) in all (k, granularity >= 1; width >= min(k, end)).
/// The others are a uniform choice among all that the row sees and are not forced. Blocks of `granularity` rows share
/// theirs as far as that goes: the block draws from the history of its first row (Floyd's sampling: Bentley and Floyd,
/// CACM 30, 1987), and each key that becomes visible replaces one of them with the probability that keeps the choice
/// uniform (reservoir sampling: Vitter's algorithm R, ACM TOMS 11, 1985). A block costs k draws and a bit for each key
/// of its history, a row a copy.
void random_rows(const RowSupports& rows, std::int64_t k, const ForcedRange& forced, std::int64_t granularity,
                 std::uint64_t stream);

/// A block-sparse pattern: for each query block the key blocks that its rows attend to.
struct BlockLists {
  std::int64_t query_block = 0, key_block = 0;  ///< rows, keys of a block
  std::int64_t num_query_blocks = 0;            ///< from row 0 on
  const std::int32_t* blocks = nullptr;         ///< [num_query_blocks, width], in any order
  std::int64_t width = 0;
  const std::int32_t* counts = nullptr;  ///< [num_query_blocks]
};

/// Keys of the longest row that expand_blocks() writes: what `width` must be at least.
std::int64_t expanded_width(const BlockLists& lists, std::int64_t row_begin, std::int64_t row_end);

/// For each row the keys of its blocks up to the row itself; a block named twice counts once, one that lies behind the
/// row not at all. Nothing is added: without the row's own block its own key is not in, and a row may be empty. Throws
/// where a row has no list, a list is longer than its width, a block's number is negative, or `rows.width` is too
/// small.
void expand_blocks(const BlockLists& lists, const RowSupports& rows);

}  // namespace headroom::kernels::cpu
