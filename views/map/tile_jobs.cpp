// SPDX-License-Identifier: GPL-3.0-or-later
// The jobs of the tile cache: tiles from q and k, from finer tiles, from the record, from a provider; and what becomes
// of them.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "record/rank_tile.h"
#include "views/common/workers.h"
#include "views/map/map_colours.h"
#include "views/map/tile_cache.h"

namespace headroom::views {
namespace {

constexpr std::size_t most_taken = 1024;

void add_codes(CellGrid& grid) {
  mass_codes(grid.max, grid.max_code);
  if (grid.cell == 1)  // one pair is its own mean
    grid.mean_code = grid.max_code;
  else
    mass_codes(grid.mean, grid.mean_code);
}

/// The four children in reading order, null where outside the map.
using Children = std::array<GridPtr, 4>;

// A coarser tile from the finer ones that are already here: the same numbers without touching q and k again.
GridPtr from_children(const Children& children, record::TileAddress address, std::int64_t length,
                      std::int64_t first_row) {
  CellGrid grid;
  grid.cell = std::int64_t{1} << address.level;
  const std::int64_t side = tile_side(address);
  grid.row_begin = address.row * side;
  grid.column_begin = address.column * side;
  const auto cells = [&](std::int64_t begin) {
    return std::min(record::tile_size, (length - begin + grid.cell - 1) / grid.cell);
  };
  grid.rows = cells(grid.row_begin);
  grid.columns = cells(grid.column_begin);
  const auto count = static_cast<std::size_t>(grid.rows * grid.columns);
  grid.max.assign(count, std::numeric_limits<float>::quiet_NaN());
  grid.mean.assign(count, std::numeric_limits<float>::quiet_NaN());
  const std::int64_t fine = grid.cell / 2;
  for (std::int64_t row = 0; row < grid.rows; ++row) {
    for (std::int64_t column = 0; column < grid.columns; ++column) {
      float largest = std::numeric_limits<float>::quiet_NaN();
      double sum = 0;
      std::int64_t pairs = 0;
      for (int part = 0; part < 4; ++part) {
        const std::int64_t fine_row = 2 * row + part / 2, fine_column = 2 * column + part % 2;
        const auto& child =
            children[static_cast<std::size_t>(fine_row / record::tile_size * 2 + fine_column / record::tile_size)];
        if (!child) continue;
        const std::int64_t r = fine_row % record::tile_size, c = fine_column % record::tile_size;
        if (r >= child->rows || c >= child->columns) continue;
        const auto i = static_cast<std::size_t>(r * child->columns + c);
        if (std::isnan(child->max[i])) continue;
        largest = std::isnan(largest) ? child->max[i] : std::max(largest, child->max[i]);
        const std::int64_t t = grid.row_begin + fine_row * fine, s = grid.column_begin + fine_column * fine;
        const std::int64_t n =
            causal_pairs(std::max(t, first_row), std::min(t + fine, length), s, std::min(s + fine, length));
        sum += static_cast<double>(child->mean[i]) * static_cast<double>(n);
        pairs += n;
      }
      const auto i = static_cast<std::size_t>(row * grid.columns + column);
      grid.max[i] = largest;
      if (pairs > 0) grid.mean[i] = static_cast<float>(sum / static_cast<double>(pairs));
    }
  }
  add_codes(grid);
  return std::make_shared<const CellGrid>(std::move(grid));
}

std::size_t size_of(const CellGrid& grid) {
  return grid.max.size() * 12 + sizeof(CellGrid);
}

std::size_t size_of(const OverlayGrid& grid) {
  return grid.flags.size() + grid.missed.size() * 4 + grid.missed_mass.size() * 4 + grid.mass_codes.size() * 2 +
         sizeof(OverlayGrid);
}

}  // namespace

std::int64_t causal_pairs(std::int64_t row_begin, std::int64_t row_end, std::int64_t key_begin, std::int64_t key_end) {
  if (row_end <= row_begin || key_end <= key_begin) return 0;
  // Rows t < key_begin see none, rows t >= key_end - 1 all, those between t + 1 - key_begin keys.
  const std::int64_t first = std::max(row_begin, key_begin);
  const std::int64_t full = std::max(first, std::min(row_end, key_end - 1));
  std::int64_t pairs = 0;
  if (full > first) pairs += (full - first) * (first + 1 - key_begin + full - key_begin) / 2;
  if (row_end > full) pairs += (row_end - full) * (key_end - key_begin);
  return pairs;
}

GridPtr make_grid(record::Tile tile) {
  CellGrid grid;
  grid.cell = std::int64_t{1} << tile.address.level;
  grid.row_begin = tile.address.row * tile_side(tile.address);
  grid.column_begin = tile.address.column * tile_side(tile.address);
  grid.rows = tile.rows;
  grid.columns = tile.columns;
  grid.max = std::move(tile.max);
  grid.mean = std::move(tile.mean);
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(0, grid.rows * grid.columns));
  if (count == 0 || grid.max.size() != count || grid.mean.size() != count) return nullptr;  // stopped early, or damaged
  add_codes(grid);
  return std::make_shared<const CellGrid>(std::move(grid));
}

OverlayPtr make_overlay(record::OverlayTile tile) {
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(0, tile.rows * tile.columns));
  for (const auto* counts : {&tile.hit, &tile.missed, &tile.wasted, &tile.selected})
    if (count == 0 || counts->size() != count) return nullptr;  // stopped early, or damaged
  OverlayGrid grid;
  static_cast<record::OverlayTile&>(grid) = std::move(tile);
  grid.flags.resize(count);
  for (std::size_t i = 0; i < count; ++i)
    grid.flags[i] = static_cast<std::uint8_t>(OverlayGrid::known_cell | (grid.hit[i] ? OverlayGrid::hit_cell : 0) |
                                              (grid.missed[i] ? OverlayGrid::missed_cell : 0) |
                                              (grid.wasted[i] ? OverlayGrid::wasted_cell : 0) |
                                              (grid.selected[i] ? OverlayGrid::attended_cell : 0));
  // What nothing draws is not kept: of five numbers a cell it would be most of what the overlay takes.
  for (auto* counts : {&grid.hit, &grid.wasted, &grid.selected}) std::vector<std::uint32_t>().swap(*counts);
  if (grid.missed_mass.size() == count) {
    mass_codes(grid.missed_mass, grid.mass_codes);
    std::vector<std::uint32_t>().swap(grid.missed);
  }
  return std::make_shared<const OverlayGrid>(std::move(grid));
}

GridPtr make_grid(const record::Thumbnail& thumbnail, std::int64_t length) {
  CellGrid grid;
  grid.cell = thumbnail.cell;
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(0, thumbnail.size * thumbnail.size));
  if (grid.cell <= 0 || count == 0 || thumbnail.max.size() != count || thumbnail.mean.size() != count) return nullptr;
  grid.rows = grid.columns = thumbnail.size;
  grid.max = thumbnail.max;
  grid.mean = thumbnail.mean;
  for (std::int64_t row = 0; row < grid.rows; ++row) {
    for (std::int64_t column = 0; column < grid.columns; ++column) {
      if (column <= row && row * grid.cell < length) continue;
      const auto i = static_cast<std::size_t>(row * grid.columns + column);
      grid.max[i] = grid.mean[i] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  add_codes(grid);
  return std::make_shared<const CellGrid>(std::move(grid));
}

void TileCache::start(const Request& request, const TileKey& key) {
  auto job = std::make_shared<Running>();
  running_.insert(key, job);
  Children children;
  bool complete = request.address.level > 0 && !request.data->ranks;
  for (int part = 0; part < 4 && complete; ++part) {
    const record::TileAddress child{request.address.level - 1, request.address.row * 2 + part / 2,
                                    request.address.column * 2 + part % 2};
    // Above the diagonal or outside: nothing there.
    if (child.column > child.row || child.row * tile_side(child) >= request.data->length) continue;
    children[static_cast<std::size_t>(part)] = find(*request.data, child);
    complete = children[static_cast<std::size_t>(part)] != nullptr;
  }
  pool_.start([this, key, job, children, complete, data = request.data, address = request.address] {
    give_way_to_window();
    job->begun = clock_.nsecsElapsed();
    Made made;
    try {
      if (data->ranks)
        made.grid =
            make_grid(record::compute_rank_tile(*data->stream, data->source.head, address, job->stop.get_token()));
      else if (complete)
        made.grid = from_children(children, address, data->length, data->stream->query_begin);
      else
        made.grid = make_grid(record::compute_tile(*data->stream, data->source.head, address, job->stop.get_token()));
    } catch (const std::exception& error) {
      made.grid = nullptr;  // the coarser picture stays
      made.problem = QString::fromUtf8(error.what());
    }
    QMetaObject::invokeMethod(
        this, [this, key, data, made] { finished(key, data, made); }, Qt::QueuedConnection);
  });
}

void TileCache::start_stored(const Request& request, const TileKey& key) {
  auto job = std::make_shared<Running>();
  job->stored = true;
  running_.insert(key, job);
  disk_.start([this, key, job, data = request.data, address = request.address, overlay = request.overlay] {
    give_way_to_window();
    job->begun = clock_.nsecsElapsed();
    Made made;
    try {
      const MapSource& source = data->source;
      const std::string method = source.method.toStdString();
      if (job->stop.stop_requested()) {
      } else if (overlay) {
        if (auto tile = source.record->stored_overlay(method, source.layer, data->support_group.value_or(-1),
                                                      source.head, address)) {
          made.overlay = make_overlay(std::move(*tile));
        }
      } else if (auto tile = source.record->stored_tile(method, source.layer, source.head, address)) {
        made.grid = make_grid(std::move(*tile));
      }
    } catch (const std::exception& error) {
      made.grid = nullptr;
      made.overlay = nullptr;
      made.problem = QString::fromUtf8(error.what());
    }
    QMetaObject::invokeMethod(
        this, [this, key, data, made] { finished(key, data, made); }, Qt::QueuedConnection);
  });
}

void TileCache::start_overlay(const Request& request, const TileKey& key) {
  auto job = std::make_shared<Running>();
  running_.insert(key, job);
  pool_.start([this, key, job, data = request.data, address = request.address] {
    give_way_to_window();
    Made made;
    try {
      if (!job->stop.stop_requested() && data->has_overlay()) {
        const MapSource& source = data->source;
        const auto counted = source.record && data->stored.has_overlay(address.level)
                                 ? source.record->stored_overlay(source.method.toStdString(), source.layer,
                                                                 data->support_group.value_or(-1), source.head, address)
                                 : std::nullopt;
        record::OverlayTile tile =
            counted ? *counted
                    : record::compute_overlay(*data->support, *data->target, data->wasted.get(), address,
                                              data->stream ? data->stream->query_begin : 0, job->stop.get_token());
        if (data->stream)
          record::add_missed_mass(tile, *data->stream, data->source.head, *data->support, *data->target, max_tile_work,
                                  job->stop.get_token());
        if (!job->stop.stop_requested()) made.overlay = make_overlay(std::move(tile));
      }
    } catch (const std::exception& error) {
      made.overlay = nullptr;
      made.problem = QString::fromUtf8(error.what());
    }
    QMetaObject::invokeMethod(
        this, [this, key, data, made] { finished(key, data, made); }, Qt::QueuedConnection);
  });
}

void TileCache::ask_provider(const Request& request, const TileKey& key) {
  auto job = std::make_shared<Running>();
  job->by_provider = true;
  running_.insert(key, job);
  const auto& source = request.data->source;
  const MapId id{QString::fromStdString(source.record->meta().run_id), source.method, source.layer, source.head};
  job->provider_request = provider_->request(
      id, request.address,
      [this, key, data = request.data](std::shared_ptr<const record::Tile> tile, const QString& reason) {
        Made made;
        made.grid = tile ? make_grid(*tile) : nullptr;
        made.problem = reason;
        if (!made.grid && !reason.isEmpty()) emit provider_failed(reason);
        finished(key, data, made);
      });
}

void TileCache::finished(const TileKey& key, const MapDataPtr& data, const Made& made) {
  const auto job = running_.take(key);
  if (job && made.grid && !job->by_provider) {
    auto& list = job->stored ? taken_.stored : taken_.computed;
    if (list.size() < most_taken) list.push_back(static_cast<double>(clock_.nsecsElapsed() - job->begun) / 1e6);
  }
  if (made.grid || made.overlay) {
    // Served: asking for it again is the client's business. Else more than the cache holds would go round for ever.
    for (auto& requests : wanted_)
      std::erase_if(requests, [&](const Request& r) { return key_of(*r.data, r.address, r.overlay) == key; });
    failed_.remove(key);
    TileStore::Entry entry;
    entry.key = key;
    entry.grid = made.grid;
    entry.overlay = made.overlay;
    if (data->source.record)
      entry.owner = data->source.record;
    else
      entry.owner = data;
    entry.bytes = made.grid ? size_of(*made.grid) : size_of(*made.overlay);
    store_->insert(std::move(entry));
    emit ready();
  } else if (job && !job->stop.stop_requested()) {
    remember_failure(key, made.problem, job->by_provider);
  }
  pump();
  if (!busy()) emit idle();
}

}  // namespace headroom::views
