// SPDX-License-Identifier: GPL-3.0-or-later
// Export of the map as numbers: single pairs where there are few, else cells of the level that is shown.
#include <algorithm>
#include <cmath>
#include <optional>

#include "views/map/map_figure.h"

namespace headroom::views {
namespace {

constexpr std::int64_t most_single_pairs = 200000;

struct CsvRegion {
  std::int64_t query_begin = 0, query_end = 0, key_begin = 0, key_end = 0;
};

QString quoted_csv(QString text) {
  return QLatin1Char('"') + text.replace(QLatin1Char('"'), QLatin1String("\"\"")) + QLatin1Char('"');
}

QString token_csv(const MapData& data, std::int64_t token) {
  if (!data.source.record) return QStringLiteral("\"\"");
  const auto& tokens = data.source.record->tokens();
  const auto i = static_cast<std::size_t>(token);
  if (i >= tokens.begin.size() || tokens.begin[i] < 0 ||
      tokens.end[i] > static_cast<std::int64_t>(tokens.text.size()) || tokens.begin[i] >= tokens.end[i])
    return QStringLiteral("\"\"");
  return quoted_csv(
      QString::fromUtf8(tokens.text.data() + tokens.begin[i], static_cast<qsizetype>(tokens.end[i] - tokens.begin[i])));
}

/// Tiles of a level that lie in the region, row by row.
std::vector<record::TileAddress> tiles_in(const CsvRegion& region, int level) {
  std::vector<record::TileAddress> tiles;
  const std::int64_t side = tile_side({level, 0, 0});
  for (std::int64_t row = region.query_begin / side; row * side < region.query_end; ++row)
    for (std::int64_t column = region.key_begin / side; column * side < region.key_end && column <= row; ++column)
      tiles.push_back({level, row, column});
  return tiles;
}

void write_pair(QString& out, const MapData& data, std::int64_t query, std::int64_t key, float p) {
  out += QStringLiteral("%1,%2,%3,%4,%5,%6,%7\r\n")
             .arg(query)
             .arg(key)
             .arg(static_cast<double>(p), 0, 'g', 7)
             .arg(data.support ? (data.selected(query, key) ? QStringLiteral("1") : QStringLiteral("0")) : QString())
             .arg(data.has_overlay() ? (data.missed(query, key) ? QStringLiteral("1") : QStringLiteral("0"))
                                     : QString())
             .arg(token_csv(data, query), token_csv(data, key));
}

/// A few keys of a long row come from tiles: the whole row of a long prompt would be computed for them.
QString pairs_csv(const MapData& data, const CsvRegion& region, const std::stop_token& stop) {
  QString out = QStringLiteral("query,key,p,selected,missed,query_token,key_token\r\n");
  const record::HeadSelector head = data.source.head;
  const std::int64_t first = std::max(region.query_begin, data.stream->query_begin);
  const std::int64_t of_rows = causal_pairs(first, region.query_end, 0, data.length);
  const std::int64_t of_tiles =
      static_cast<std::int64_t>(tiles_in(region, 0).size()) * record::tile_size * record::tile_size;
  if (of_rows <= of_tiles) {
    for (std::int64_t query = first; query < region.query_end; ++query) {
      if (stop.stop_requested()) return {};
      const auto row = record::probability_row(*data.stream, head, query);
      for (std::int64_t key = region.key_begin;
           key < std::min(region.key_end, static_cast<std::int64_t>(row.size())); ++key)
        write_pair(out, data, query, key, row[static_cast<std::size_t>(key)]);
    }
    return out;
  }
  constexpr std::int64_t side = record::tile_size;
  for (std::int64_t strip = first / side; strip * side < region.query_end; ++strip) {
    std::vector<record::Tile> tiles;
    for (std::int64_t column = region.key_begin / side; column * side < region.key_end && column <= strip; ++column) {
      tiles.push_back(record::compute_tile(*data.stream, head, {0, strip, column}, stop));
      if (stop.stop_requested()) return {};
    }
    for (std::int64_t query = std::max(first, strip * side); query < std::min(region.query_end, (strip + 1) * side);
         ++query) {
      for (const record::Tile& tile : tiles) {
        const std::int64_t begin = tile.address.column * side, end = begin + tile.columns;
        for (std::int64_t key = std::max(begin, region.key_begin);
             key < std::min({end, region.key_end, query + 1}); ++key)
          write_pair(out, data, query, key,
                     tile.max[static_cast<std::size_t>((query - strip * side) * tile.columns + key - begin)]);
      }
    }
  }
  return out;
}

void write_cells(QString& out, const CellGrid& grid, const CsvRegion& region, std::int64_t length) {
  for (std::int64_t row = 0; row < grid.rows; ++row) {
    for (std::int64_t column = 0; column < grid.columns; ++column) {
      const auto i = static_cast<std::size_t>(row * grid.columns + column);
      const std::int64_t t = grid.row_begin + row * grid.cell, s = grid.column_begin + column * grid.cell;
      if (std::isnan(grid.max[i]) || t + grid.cell <= region.query_begin || t >= region.query_end ||
          s + grid.cell <= region.key_begin || s >= region.key_end)
        continue;
      out += QStringLiteral("%1,%2,%3,%4,%5,%6\r\n")
                 .arg(t)
                 .arg(std::min(t + grid.cell, length))
                 .arg(s)
                 .arg(std::min(s + grid.cell, length))
                 .arg(static_cast<double>(grid.max[i]), 0, 'g', 7)
                 .arg(static_cast<double>(grid.mean[i]), 0, 'g', 7);
    }
  }
}

QString cells_head(std::int64_t cell) {
  return QStringLiteral("# Cells: largest and mean p of %1x%1 pairs\r\n").arg(cell) +
         QStringLiteral("query_begin,query_end,key_begin,key_end,max_p,mean_p\r\n");
}

/// The finest level from `level` on of which every tile in the region can be had; none where there is none.
std::optional<int> level_to_write(const MapData& data, const CsvRegion& region, int level) {
  for (; level < record::num_levels(data.length); ++level) {
    if (data.has_stored_tile(level)) return level;
    if (!data.stream) continue;
    const auto tiles = tiles_in(region, level);
    if (std::none_of(tiles.begin(), tiles.end(), [&](auto at) { return TileCache::too_costly(data, at); }))
      return level;
  }
  return std::nullopt;
}

}  // namespace

QString map_csv(const MapData& data, const Viewport& view, int level, const std::stop_token& stop) {
  if (data.length <= 0) return {};
  const auto clip = [&](double value) {
    return std::clamp<std::int64_t>(static_cast<std::int64_t>(value), 0, data.length);
  };
  const CsvRegion region{clip(std::floor(view.query_begin)), clip(std::ceil(view.query_end)),
                      clip(std::floor(view.key_begin)), clip(std::ceil(view.key_end))};
  if (data.stream && causal_pairs(region.query_begin, region.query_end, region.key_begin, region.key_end) <=
                         most_single_pairs)
    return pairs_csv(data, region, stop);
  const MapSource& source = data.source;
  const std::optional<int> written = level_to_write(data, region, std::max(0, level));
  if (!written) {  // the thumbnail's cells are what is shown
    const GridPtr grid = data.thumbnail ? make_grid(*data.thumbnail, data.length) : nullptr;
    if (!grid) return {};
    QString out = cells_head(grid->cell);
    write_cells(out, *grid, region, data.length);
    return out;
  }
  QString out = cells_head(std::int64_t{1} << *written);
  for (const record::TileAddress at : tiles_in(region, *written)) {
    GridPtr grid;
    if (data.has_stored_tile(*written)) {
      const auto tile = source.record->stored_tile(source.method.toStdString(), source.layer, source.head, at);
      if (tile) grid = make_grid(*tile);
    } else {
      grid = make_grid(record::compute_tile(*data.stream, source.head, at, stop));
    }
    if (stop.stop_requested()) return {};
    if (grid) write_cells(out, *grid, region, data.length);
  }
  return out;
}

}  // namespace headroom::views
