// SPDX-License-Identifier: Apache-2.0
// Which support belongs to the selected heads, and counts of hit, missed and wasted pairs per cell, by population count
// over the rows' bits.
#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <vector>

#include "record/tiles.h"

namespace headroom::record {
namespace {

/// Bits of a row from key `begin` (a multiple of 8) on; keys past the row's bytes are 0.
void read_words(const SupportBitmap& bitmap, std::int64_t query, std::int64_t begin, std::span<std::uint64_t> words) {
  std::fill(words.begin(), words.end(), 0);
  if (query >= bitmap.length()) return;
  const std::span<const std::uint8_t> row = bitmap.row(query);
  const std::int64_t first = begin / 8, left = static_cast<std::int64_t>(row.size()) - first;
  if (left > 0)
    std::memcpy(words.data(), row.data() + first,
                static_cast<std::size_t>(std::min<std::int64_t>(left, std::ssize(words) * 8)));
}

void read_words(const Support& support, std::int64_t query, std::int64_t begin, std::span<std::uint64_t> words) {
  if (query < support.length())
    support.words(query, begin, words);
  else
    std::fill(words.begin(), words.end(), 0);
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

namespace {

/// `Bits`: SupportBitmap or Support.
template <typename Bits>
OverlayTile overlay_of(const Bits& support, const Bits& target, const Bits* wasted, TileAddress address,
                       std::int64_t query_begin, const std::stop_token& stop) {
  OverlayTile tile;
  tile.address = address;
  const std::int64_t length = std::max({support.length(), target.length(), wasted ? wasted->length() : 0});
  if (address.level < 0 || address.level > 32 || address.row < 0 || address.column < 0) return tile;
  const std::int64_t span = tile_size << address.level, cell = std::int64_t{1} << address.level;
  if (address.row > length / span || address.column > length / span) return tile;
  const std::int64_t row_begin = address.row * span, key_begin = address.column * span;
  if (row_begin >= length || key_begin >= length) return tile;
  const std::int64_t rows = std::min(tile_size, (length - row_begin + cell - 1) / cell);
  const std::int64_t columns = std::min(tile_size, (length - key_begin + cell - 1) / cell);
  const auto cells = static_cast<std::size_t>(rows * columns);
  for (auto* counts : {&tile.hit, &tile.missed, &tile.wasted, &tile.selected}) counts->assign(cells, 0);
  const std::int64_t row_end = std::min(row_begin + span, length), key_end = std::min(key_begin + span, length);
  const auto words = static_cast<std::size_t>((key_end - key_begin + 63) / 64);
  std::vector<std::uint64_t> chosen(words), best(words), useless(words);
  for (std::int64_t query = std::max(row_begin, query_begin); query < row_end; ++query) {
    if (query < key_begin) continue;
    if (stop.stop_requested()) return {address, 0, 0, {}, {}, {}, {}, {}};
    const std::int64_t offset = ((query - row_begin) >> address.level) * columns;
    read_words(support, query, key_begin, chosen);
    read_words(target, query, key_begin, best);
    if (wasted) read_words(*wasted, query, key_begin, useless);
    for (std::size_t i = 0; i < words; ++i) {
      const std::int64_t key = key_begin + static_cast<std::int64_t>(i) * 64;
      const std::uint64_t mask = causal_mask(query, key) & causal_mask(key_end - 1, key);
      if (((chosen[i] | best[i] | useless[i]) & mask) == 0) continue;
      add(tile.hit, offset, key - key_begin, address.level, chosen[i] & best[i] & mask);
      add(tile.missed, offset, key - key_begin, address.level, best[i] & ~chosen[i] & mask);
      add(tile.wasted, offset, key - key_begin, address.level, useless[i] & mask);
      add(tile.selected, offset, key - key_begin, address.level, chosen[i] & mask);
    }
  }
  tile.rows = rows;
  tile.columns = columns;
  return tile;
}

template <typename Bits>
bool missed_mass_of(OverlayTile& tile, const LayerStream& stream, HeadSelector head, const Bits& support,
                    const Bits& target, double max_work, const std::stop_token& stop) {
  if (tile.missed.empty() || stream.length != target.length() || stream.num_q_heads < 1) return false;
  double pairs = 0;
  for (const std::uint32_t count : tile.missed) pairs += count;
  const auto heads = static_cast<double>(head.kind == HeadSelector::Kind::head ? 1 : stream.num_q_heads);
  // A pair of a stream that is not in memory costs a look-up for each head beside the multiply-adds.
  const double look_up = stream.window ? 512 : 0;
  if (pairs * heads * (static_cast<double>(stream.head_dim) + look_up) > max_work) return false;
  const int level = tile.address.level;
  const std::int64_t span = tile_size << level;
  const std::int64_t row_begin = tile.address.row * span, row_end = std::min(row_begin + span, stream.length);
  const std::int64_t key_begin = tile.address.column * span, key_end = std::min(key_begin + span, stream.length);
  std::vector<double> sums(tile.missed.size(), 0.0);
  const auto words = static_cast<std::size_t>((key_end - key_begin + 63) / 64);
  std::vector<std::uint64_t> chosen(words), best(words);
  for (std::int64_t query = std::max({row_begin, stream.query_begin, key_begin}); query < row_end; ++query) {
    if (stop.stop_requested()) return false;
    const std::int64_t offset = ((query - row_begin) >> level) * tile.columns;
    read_words(target, query, key_begin, best);
    read_words(support, query, key_begin, chosen);
    for (std::size_t i = 0; i < words; ++i) {
      const std::int64_t key = key_begin + static_cast<std::int64_t>(i) * 64;
      std::uint64_t word = best[i] & ~chosen[i] & causal_mask(query, key) & causal_mask(key_end - 1, key);
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

}  // namespace

OverlayTile compute_overlay(const SupportBitmap& support, const SupportBitmap& target, const SupportBitmap& wasted,
                            TileAddress address, std::int64_t query_begin) {
  return overlay_of<SupportBitmap>(support, target, &wasted, address, query_begin, {});
}

OverlayTile compute_overlay(const Support& support, const Support& target, const Support* wasted, TileAddress address,
                            std::int64_t query_begin, std::stop_token stop) {
  return overlay_of<Support>(support, target, wasted, address, query_begin, stop);
}

bool add_missed_mass(OverlayTile& tile, const LayerStream& stream, HeadSelector head, const SupportBitmap& support,
                     const SupportBitmap& target, double max_work, std::stop_token stop) {
  return missed_mass_of(tile, stream, head, support, target, max_work, stop);
}

bool add_missed_mass(OverlayTile& tile, const LayerStream& stream, HeadSelector head, const Support& support,
                     const Support& target, double max_work, std::stop_token stop) {
  return missed_mass_of(tile, stream, head, support, target, max_work, stop);
}

}  // namespace headroom::record
