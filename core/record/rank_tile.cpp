// SPDX-License-Identifier: Apache-2.0
#include "record/rank_tile.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace headroom::record {
namespace {

constexpr double sort_work = 40;  // of one key of a row, in multiply-adds

/// Rows that the tile shows and the stream keeps.
std::pair<std::int64_t, std::int64_t> rank_rows(const LayerStream& stream, TileAddress address) {
  const std::int64_t span = tile_size << address.level;
  return {std::max(address.row * span, stream.query_begin), std::min((address.row + 1) * span, stream.length)};
}

bool is_inside(const LayerStream& stream, TileAddress address) {
  if (address.level < 0 || address.level > 32 || address.row < 0 || address.column < 0) return false;
  const std::int64_t span = tile_size << address.level;
  return address.row <= stream.length / span && address.column <= stream.length / span &&
         address.row * span < stream.length && address.column * span < stream.length;
}

}  // namespace

double rank_tile_work(const LayerStream& stream, HeadSelector head, TileAddress address) {
  if (!is_inside(stream, address) || address.column > address.row) return 0;
  const auto [begin, end] = rank_rows(stream, address);
  if (begin >= end) return 0;
  double heads = static_cast<double>(stream.num_q_heads);
  if (head.kind == HeadSelector::Kind::head) heads = 1;
  if (head.kind == HeadSelector::Kind::group)
    heads /= static_cast<double>(std::max<std::int64_t>(1, stream.num_kv_heads));
  const double pairs = 0.5 * static_cast<double>(end - begin) * static_cast<double>(begin + end + 1);
  return pairs * (heads * static_cast<double>(stream.head_dim) + sort_work);
}

Tile compute_rank_tile(const LayerStream& stream, HeadSelector head, TileAddress address, std::stop_token stop) {
  Tile tile;
  tile.address = address;
  if (!is_inside(stream, address)) return tile;
  const std::int64_t cell = std::int64_t{1} << address.level, span = tile_size << address.level;
  const std::int64_t row_begin = address.row * span, key_begin = address.column * span;
  const std::int64_t rows = std::min(tile_size, (stream.length - row_begin + cell - 1) / cell);
  const std::int64_t columns = std::min(tile_size, (stream.length - key_begin + cell - 1) / cell);
  std::vector<float> best(static_cast<std::size_t>(rows * columns), std::numeric_limits<float>::quiet_NaN());
  std::vector<std::uint64_t> order;
  const auto [begin, end] = rank_rows(stream, address);
  for (std::int64_t query = begin; query < end; ++query) {
    if (stop.stop_requested()) return tile;
    if (key_begin > query) continue;
    const std::vector<float> p = probability_row(stream, head, query);
    // Most p first, then the lower position: as whole numbers, since p is never negative.
    order.resize(p.size());
    for (std::size_t key = 0; key < p.size(); ++key)
      order[key] = std::uint64_t{~std::bit_cast<std::uint32_t>(std::max(p[key], 0.0f))} << 32 | key;
    std::sort(order.begin(), order.end());
    const std::int64_t key_end = std::min(key_begin + span, query + 1);
    for (std::size_t place = 0; place < order.size(); ++place) {
      const auto key = static_cast<std::int64_t>(order[place] & 0xffffffffu);
      if (key < key_begin || key >= key_end) continue;
      float& value = best[static_cast<std::size_t>((query - row_begin) / cell * columns + (key - key_begin) / cell)];
      const float inverse = 1.0f / static_cast<float>(place + 1);
      if (!(value >= inverse)) value = inverse;
    }
  }
  tile.rows = rows;
  tile.columns = columns;
  tile.mean = best;
  tile.max = std::move(best);
  return tile;
}

}  // namespace headroom::record
