// SPDX-License-Identifier: Apache-2.0
// Which support belongs to the selected heads, and counts of hit, missed and wasted pairs per cell, by population count
// over the bitmaps' rows.
#include <algorithm>
#include <bit>
#include <cstring>

#include "record/tiles.h"

namespace headroom::record {
namespace {

/// 64 bits of a row from key `begin` (a multiple of 8); keys past the row's bytes are 0.
std::uint64_t word_at(const SupportBitmap& bitmap, std::int64_t query, std::int64_t begin) {
  if (query >= bitmap.length()) return 0;
  const std::span<const std::uint8_t> row = bitmap.row(query);
  const std::int64_t first = begin / 8, left = static_cast<std::int64_t>(row.size()) - first;
  if (left <= 0) return 0;
  std::uint64_t word = 0;
  for (std::int64_t i = 0; i < std::min<std::int64_t>(left, 8); ++i)
    word |= static_cast<std::uint64_t>(row[static_cast<std::size_t>(first + i)]) << (8 * i);
  return word;
}

std::uint64_t causal_mask(std::int64_t query, std::int64_t begin) {
  const std::int64_t visible = query + 1 - begin;
  return visible <= 0 ? 0 : visible >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << visible) - 1;
}

void add(std::vector<std::uint32_t>& counts, std::int64_t row_offset, std::int64_t key_offset, int level,
         std::uint64_t word) {
  while (word != 0) {
    const int bit = std::countr_zero(word);
    const std::int64_t column = (key_offset + bit) >> level;
    // All bits of this word that fall into the same cell.
    const std::int64_t end = ((column + 1) << level) - key_offset;
    const std::uint64_t inside = end >= 64 ? word : word & ((std::uint64_t{1} << end) - 1);
    counts[static_cast<std::size_t>(row_offset + column)] += static_cast<std::uint32_t>(std::popcount(inside));
    word &= ~inside;
  }
}

}  // namespace

std::optional<int> support_group(const MethodSummary& method, const LayerMeta& layer, HeadSelector head) {
  using Kind = HeadSelector::Kind;
  if (!layer.is_full()) return std::nullopt;
  if (num_support_groups(method.scope, layer.num_q_heads, layer.num_kv_heads) == 1) return 0;
  if (head.kind == Kind::mean) return std::nullopt;
  const bool group = head.kind == Kind::group;
  if (head.index < 0 || head.index >= (group ? layer.num_kv_heads : layer.num_q_heads)) return std::nullopt;
  if (group && method.scope == SupportScope::q_head && layer.group_size() > 1) return std::nullopt;
  const std::int64_t first = group ? head.index * layer.group_size() : head.index;
  return static_cast<int>(headroom::support_group(method.scope, first, layer.num_q_heads, layer.num_kv_heads));
}

OverlayTile compute_overlay(const SupportBitmap& support, const SupportBitmap& target, const SupportBitmap& wasted,
                            TileAddress address, std::int64_t query_begin) {
  OverlayTile tile;
  tile.address = address;
  const std::int64_t length = std::max({support.length(), target.length(), wasted.length()});
  if (address.level < 0 || address.level > 32 || address.row < 0 || address.column < 0) return tile;
  const std::int64_t span = tile_size << address.level, cell = std::int64_t{1} << address.level;
  if (address.row > length / span || address.column > length / span) return tile;
  const std::int64_t row_begin = address.row * span, key_begin = address.column * span;
  if (row_begin >= length || key_begin >= length) return tile;
  tile.rows = std::min(tile_size, (length - row_begin + cell - 1) / cell);
  tile.columns = std::min(tile_size, (length - key_begin + cell - 1) / cell);
  const auto cells = static_cast<std::size_t>(tile.rows * tile.columns);
  tile.hit.assign(cells, 0);
  tile.missed.assign(cells, 0);
  tile.wasted.assign(cells, 0);
  tile.selected.assign(cells, 0);
  const std::int64_t row_end = std::min(row_begin + span, length), key_end = std::min(key_begin + span, length);
  for (std::int64_t query = std::max(row_begin, query_begin); query < row_end; ++query) {
    const std::int64_t offset = ((query - row_begin) >> address.level) * tile.columns;
    for (std::int64_t key = key_begin; key < std::min(key_end, query + 1); key += 64) {
      const std::uint64_t mask = causal_mask(query, key);
      const std::uint64_t chosen = word_at(support, query, key), best = word_at(target, query, key);
      add(tile.hit, offset, key - key_begin, address.level, chosen & best & mask);
      add(tile.missed, offset, key - key_begin, address.level, best & ~chosen & mask);
      add(tile.wasted, offset, key - key_begin, address.level, word_at(wasted, query, key) & mask);
      add(tile.selected, offset, key - key_begin, address.level, chosen & mask);
    }
  }
  return tile;
}

bool add_missed_mass(OverlayTile& tile, const LayerStream& stream, HeadSelector head, const SupportBitmap& support,
                     const SupportBitmap& target, double max_work, std::stop_token stop) {
  if (tile.missed.empty() || stream.length != target.length() || stream.num_q_heads < 1) return false;
  double pairs = 0;
  for (const std::uint32_t count : tile.missed) pairs += count;
  const auto heads = static_cast<double>(head.kind == HeadSelector::Kind::head ? 1 : stream.num_q_heads);
  if (pairs * heads * static_cast<double>(stream.head_dim) > max_work) return false;
  const int level = tile.address.level;
  const std::int64_t span = tile_size << level;
  const std::int64_t row_begin = tile.address.row * span, row_end = std::min(row_begin + span, stream.length);
  const std::int64_t key_begin = tile.address.column * span, key_end = std::min(key_begin + span, stream.length);
  std::vector<double> sums(tile.missed.size(), 0.0);
  for (std::int64_t query = std::max(row_begin, stream.query_begin); query < row_end; ++query) {
    if (stop.stop_requested()) return false;
    const std::int64_t offset = ((query - row_begin) >> level) * tile.columns;
    for (std::int64_t key = key_begin; key < std::min(key_end, query + 1); key += 64) {
      std::uint64_t word = word_at(target, query, key) & ~word_at(support, query, key) & causal_mask(query, key);
      for (; word != 0; word &= word - 1) {
        const std::int64_t missed = key + std::countr_zero(word);
        sums[static_cast<std::size_t>(offset + ((missed - key_begin) >> level))] +=
            static_cast<double>(probability(stream, head, query, missed));
      }
    }
  }
  tile.missed_mass.assign(sums.begin(), sums.end());
  return true;
}

}  // namespace headroom::record
