// SPDX-License-Identifier: Apache-2.0
// Exact map tiles from a recorded stream, at every zoom level, without the model. Used by the window alone, and by the
// engine for layers that the record does not hold.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <vector>

#include "record/support.h"
#include "record/types.h"

namespace headroom::record {

inline constexpr std::int64_t tile_size = 256;

/// One query head, the mean over all, or the mean over the query heads of one KV head.
struct HeadSelector {
  enum class Kind { head, mean, group } kind = Kind::mean;
  int index = 0;  ///< head or KV head
  bool operator==(const HeadSelector&) const = default;
};

/// Which of a method's supports in a full layer the selected heads attend with; nullopt where they have several.
std::optional<int> support_group(const MethodSummary& method, const LayerMeta& layer, HeadSelector head);

/// Tile (row, column) at a level: cells of 2^level x 2^level pairs, tile_size x tile_size cells.
struct TileAddress {
  int level = 0;
  std::int64_t row = 0, column = 0;
  bool operator==(const TileAddress&) const = default;
};

struct Tile {
  TileAddress address;
  std::int64_t rows = 0, columns = 0;  ///< cells that lie inside the map, <= tile_size
  std::vector<float> max;              ///< [rows, columns] largest p in the cell; NaN where no causal pair or not kept
  std::vector<float> mean;             ///< [rows, columns] mean p over the cell's causal pairs
};

/// Counts of pairs per cell, so that a single selected or missed pair stays visible zoomed out.
struct OverlayTile {
  TileAddress address;
  std::int64_t rows = 0, columns = 0;
  std::vector<std::uint32_t> hit, missed, wasted;  ///< [rows, columns]
  std::vector<std::uint32_t> selected;             ///< pairs of the support, among the true top-k or not
  /// Mass that the cell misses, in rows' worth (1: all that one query reads): the sum over its missed pairs of p. Empty
  /// until add_missed_mass().
  std::vector<float> missed_mass;
};

/// Causal pairs of query rows [row_begin, row_end) with keys [key_begin, key_end).
std::int64_t visible_pairs(std::int64_t row_begin, std::int64_t row_end, std::int64_t key_begin, std::int64_t key_end);
/// Levels from 0 (single pairs) up to the one where the whole map is one tile.
int num_levels(std::int64_t length);
/// Exact from q, k and lse. A stop request ends it early with an empty tile; a tile outside the map is empty too.
/// Throws an internal error for a head that the stream does not have.
Tile compute_tile(const LayerStream& stream, HeadSelector head, TileAddress address, std::stop_token stop = {});
/// hit = support and target, missed = target without support, wasted as given; causal pairs of query rows from
/// `query_begin` on (those that the stream keeps: the map shows no others). Bitmaps may be empty.
OverlayTile compute_overlay(const SupportBitmap& support, const SupportBitmap& target, const SupportBitmap& wasted,
                            TileAddress address, std::int64_t query_begin = 0);
/// The same from a record's supports, reading the rows that the tile shows; `wasted` may be null. A stop request ends
/// it early with an empty tile.
OverlayTile compute_overlay(const Support& support, const Support& target, const Support* wasted, TileAddress address,
                            std::int64_t query_begin = 0, std::stop_token stop = {});
/// Fills `tile.missed_mass` with p of the selected heads. False, and the tile as it was, where the stream is of another
/// length, that would take more than `max_work` multiply-adds, or a stop was requested.
bool add_missed_mass(OverlayTile& tile, const LayerStream& stream, HeadSelector head, const SupportBitmap& support,
                     const SupportBitmap& target, double max_work, std::stop_token stop = {});
bool add_missed_mass(OverlayTile& tile, const LayerStream& stream, HeadSelector head, const Support& support,
                     const Support& target, double max_work, std::stop_token stop = {});
/// Mean of p over the query rows [query_begin, query_end) that are kept, by key: what those queries read. [L], 0 for
/// keys that none of them sees; empty where no such row is kept or a stop was requested.
std::vector<float> mass_of_queries(const LayerStream& stream, HeadSelector head, std::int64_t query_begin,
                                   std::int64_t query_end, std::stop_token stop = {});
/// p(query, 0 … query); empty where the row is not kept.
std::vector<float> probability_row(const LayerStream& stream, HeadSelector head, std::int64_t query);
/// 0 where the key comes after the query, NaN where the row is not kept.
float probability(const LayerStream& stream, HeadSelector head, std::int64_t query, std::int64_t key);
/// Whether probability() of the pair would read no file: what the window's thread may ask.
bool is_here(const LayerStream& stream, HeadSelector head, std::int64_t query, std::int64_t key);
/// 1-based rank of `key` in its row by p, ties to the lower position; 0 where the pair is not causal or not kept.
std::int64_t rank_in_row(const LayerStream& stream, HeadSelector head, std::int64_t query, std::int64_t key);

}  // namespace headroom::record
