// SPDX-License-Identifier: Apache-2.0
// Writes supports that are known without scores: random keys by a hash, sinks and windows, block patterns.
#include "kernels/cpu/select/supports.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.h"

namespace headroom::kernels::cpu {
namespace {

constexpr std::uint64_t golden = 0x9e3779b97f4a7c15ull;

/// SplitMix64's finaliser.
std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

/// SplitMix64 from a state of its own.
class Draws {
 public:
  explicit Draws(std::uint64_t state) : state_(state) {}
  /// Uniform in [0, n), n >= 1; the bias is below n / 2^64.
  std::int64_t below(std::int64_t n) {
    state_ += golden;
    return static_cast<std::int64_t>(static_cast<unsigned __int128>(mix(state_)) * static_cast<std::uint64_t>(n) >> 64);
  }

 private:
  std::uint64_t state_;
};

/// A uniform choice of `wanted` keys among [first, first + seen) that grows with `seen`. Ascending.
class RandomKeys {
 public:
  RandomKeys(std::int64_t first, std::int64_t wanted, Draws draws) : first_(first), wanted_(wanted), draws_(draws) {}

  /// A fresh choice; `marks` is zero before and after, and has a bit for each of `seen` keys.
  void draw(std::int64_t seen, std::vector<std::uint64_t>& marks) {
    const auto mark = [&](std::int64_t key) -> std::uint64_t& { return marks[static_cast<std::size_t>(key / 64)]; };
    const auto bit = [](std::int64_t key) { return std::uint64_t{1} << (key % 64); };
    seen_ = seen;
    for (std::int64_t last = seen - std::min(wanted_, seen); last < seen; ++last) {
      std::int64_t key = draws_.below(last + 1);
      if (mark(key) & bit(key)) key = last;
      mark(key) |= bit(key);
    }
    for (std::int64_t word = 0; word * 64 < seen; ++word) {
      std::uint64_t& bits = marks[static_cast<std::size_t>(word)];
      for (; bits != 0; bits &= bits - 1)
        keys_.push_back(static_cast<std::int32_t>(first_ + word * 64 + std::countr_zero(bits)));
    }
  }
  /// One more key is seen.
  void see_next() {
    const auto key = static_cast<std::int32_t>(first_ + seen_++);
    if (std::ssize(keys_) == wanted_) {
      const std::int64_t place = draws_.below(seen_);
      if (place >= wanted_) return;
      keys_.erase(keys_.begin() + place);
    }
    keys_.push_back(key);
  }
  const std::vector<std::int32_t>& keys() const { return keys_; }

 private:
  std::int64_t first_, wanted_, seen_ = 0;
  Draws draws_;
  std::vector<std::int32_t> keys_;
};

std::int32_t* write_run(std::int64_t begin, std::int64_t end, std::int32_t* out) {
  std::iota(out, out + (end - begin), static_cast<std::int32_t>(begin));
  return out + (end - begin);
}

/// The distinct key blocks of one query block, ascending.
void sorted_blocks(const BlockLists& lists, std::int64_t query_block, std::vector<std::int32_t>& blocks) {
  if (query_block >= lists.num_query_blocks)
    throw Error(ErrorKind::internal, "a block pattern that ends before the rows do",
                {{},
                 "a list for query block " + std::to_string(query_block),
                 std::to_string(lists.num_query_blocks) + " lists"});
  const std::int64_t count = lists.counts[query_block];
  if (count < 0 || count > lists.width)
    throw Error(ErrorKind::internal, "a block pattern's count for query block " + std::to_string(query_block),
                {{}, "0 … " + std::to_string(lists.width), std::to_string(count)});
  const std::int32_t* from = lists.blocks + query_block * lists.width;
  blocks.assign(from, from + count);
  std::sort(blocks.begin(), blocks.end());
  blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
  if (!blocks.empty() && blocks.front() < 0)
    throw Error(ErrorKind::internal, "a block pattern's key block for query block " + std::to_string(query_block),
                {{}, "0 or more", std::to_string(blocks.front())});
}

/// Calls rows(begin, end, blocks) for the rows of [begin, end) of each query block.
template <typename Rows>
void for_query_blocks(const BlockLists& lists, std::int64_t begin, std::int64_t end, Rows&& rows) {
  if (lists.query_block < 1 || lists.key_block < 1)
    throw Error(ErrorKind::internal, "a block pattern of blocks without rows or keys");
  std::vector<std::int32_t> blocks;
  while (begin < end) {
    const std::int64_t query_block = begin / lists.query_block;
    const std::int64_t block_end = std::min(end, (query_block + 1) * lists.query_block);
    sorted_blocks(lists, query_block, blocks);
    rows(begin, block_end, blocks);
    begin = block_end;
  }
}

/// How many of [0, row] the blocks hold.
std::int64_t visible_keys(const std::vector<std::int32_t>& blocks, std::int64_t key_block, std::int64_t row) {
  std::int64_t keys = 0;
  for (const std::int64_t block : blocks) keys += std::clamp<std::int64_t>(row + 1 - block * key_block, 0, key_block);
  return keys;
}

}  // namespace

std::int64_t sink_window_row(std::int64_t row, std::int64_t k, const ForcedRange& forced, std::int32_t* indices) {
  const std::int64_t n = row + 1;
  if (const auto choice = open_choice(n, k, forced, indices))
    write_run(choice->tail - choice->wanted, n, write_run(0, choice->first, indices));
  return std::min(k, n);
}

std::uint64_t random_stream(std::uint64_t seed, std::int64_t layer) {
  return mix(mix(seed + 1) + static_cast<std::uint64_t>(layer) + 1);
}

void random_rows(const RowSupports& rows, std::int64_t k, const ForcedRange& forced, std::int64_t granularity,
                 std::uint64_t stream) {
  const std::int64_t first = std::max<std::int64_t>(0, forced.first), last = std::max<std::int64_t>(1, forced.last);
  std::vector<std::uint64_t> marks(static_cast<std::size_t>(rows.end + 63) / 64);
  for (std::int64_t begin = rows.begin; begin < rows.end;) {
    const std::int64_t block = begin / granularity, end = std::min(rows.end, (block + 1) * granularity);
    const auto others_seen = [&](std::int64_t row) { return std::max<std::int64_t>(0, row + 1 - last - first); };
    std::int64_t row = block * granularity;
    RandomKeys others(first, std::max<std::int64_t>(0, k - first - last),
                      Draws(mix(stream + static_cast<std::uint64_t>(block))));
    others.draw(others_seen(row), marks);
    for (; row < end; ++row) {
      if (row > block * granularity && others_seen(row) > others_seen(row - 1)) others.see_next();
      if (row < begin) continue;
      std::int32_t* const indices = rows.indices + (row - rows.begin) * rows.width;
      if (const auto choice = open_choice(row + 1, k, forced, indices)) {
        std::int32_t* out = write_run(0, choice->first, indices);
        out = std::copy(others.keys().begin(), others.keys().end(), out);
        write_run(choice->tail, row + 1, out);
      }
      rows.counts[row - rows.begin] = static_cast<std::int32_t>(std::min(k, row + 1));
    }
    begin = end;
  }
}

std::int64_t expanded_width(const BlockLists& lists, std::int64_t row_begin, std::int64_t row_end) {
  std::int64_t width = 0;
  for_query_blocks(lists, row_begin, row_end,
                   [&](std::int64_t, std::int64_t end, const std::vector<std::int32_t>& blocks) {
                     width = std::max(width, visible_keys(blocks, lists.key_block, end - 1));
                   });
  return width;
}

void expand_blocks(const BlockLists& lists, const RowSupports& rows) {
  const auto expand = [&](std::int64_t begin, std::int64_t end, const std::vector<std::int32_t>& blocks) {
    const std::int64_t widest = visible_keys(blocks, lists.key_block, end - 1);
    if (widest > rows.width)
      throw Error(ErrorKind::internal, "no room for the keys of row " + std::to_string(end - 1),
                  {{}, std::to_string(widest) + " places", std::to_string(rows.width)});
    for (std::int64_t row = begin; row < end; ++row) {
      std::int32_t* const indices = rows.indices + (row - rows.begin) * rows.width;
      std::int32_t* out = indices;
      for (const std::int64_t block : blocks) {
        const std::int64_t from = block * lists.key_block;
        if (from > row) break;
        out = write_run(from, std::min(from + lists.key_block, row + 1), out);
      }
      rows.counts[row - rows.begin] = static_cast<std::int32_t>(out - indices);
    }
  };
  for_query_blocks(lists, rows.begin, rows.end, expand);
}

}  // namespace headroom::kernels::cpu
