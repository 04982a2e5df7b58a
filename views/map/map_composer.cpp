// SPDX-License-Identifier: GPL-3.0-or-later
// From tiles to one image: per device pixel the cell's code, per code a colour.
#include "views/map/map_composer.h"

#include <algorithm>
#include <cmath>

#include "views/common/theme.h"

namespace headroom::views {
namespace {

std::int64_t token_at(double begin, double step, int pixel, std::int64_t length) {
  const double token = std::floor(begin + (pixel + 0.5) * step);
  return token < 0 || token >= static_cast<double>(length) ? -1 : static_cast<std::int64_t>(token);
}

bool split(const MapPicture& picture) {
  return picture.style.layout == MapLayout::diagonal_split && picture.secondary;
}

}  // namespace

/// The pixels of one tile. For the mirrored map rows of the image are keys.
struct MapComposer::Segment {
  int x0 = 0, x1 = 0, y0 = 0, y1 = 0;
  bool mirrored = false;
  const std::vector<std::int64_t>* x_token = nullptr;
  const std::vector<std::int64_t>* y_token = nullptr;
};

int level_for(const Viewport& view, QSize size, std::int64_t length) {
  const double a = (view.key_end - view.key_begin) / std::max(1, size.width());
  const double b = (view.query_end - view.query_begin) / std::max(1, size.height());
  const double tokens = std::max(a, b);
  const int level = tokens <= 1 ? 0 : static_cast<int>(std::ceil(std::log2(tokens) - 1e-9));
  return std::min(level, std::max(0, record::num_levels(std::max<std::int64_t>(1, length)) - 1));
}

void MapComposer::clear() {
  thumbnails_.clear();
}

GridPtr MapComposer::thumbnail_of(const MapDataPtr& data) {
  if (!data || !data->thumbnail) return nullptr;
  // Maps that are no longer shown take theirs along.
  std::erase_if(thumbnails_, [](const auto& known) { return known.second.first.expired(); });
  auto& entry = thumbnails_[data.get()];
  if (entry.first.lock() != data) entry = {data, make_grid(*data->thumbnail, data->length)};
  return entry.second;
}

MapComposer::Grids MapComposer::best(const MapPicture& picture, const MapDataPtr& data, record::TileAddress address,
                                     Composition& result) {
  const bool difference = picture.style.layout == MapLayout::difference && picture.secondary;
  bool hopeless = false;
  const auto ask = [&](const MapDataPtr& from, bool have) {
    if (have) return;
    if (cache_->can_make(*from, address))
      result.missing.push_back({from, address, false});
    else
      hopeless = true;
  };
  Grids grids;
  const int top = record::num_levels(data->length) - 1;
  for (int up = 0; address.level + up <= top; ++up) {
    const record::TileAddress at{address.level + up, address.row >> up, address.column >> up};
    grids.first = cache_->find(*data, at);
    if (difference) grids.second = cache_->find(*picture.secondary, at);
    if (up == 0) {
      ask(data, grids.first != nullptr);
      if (difference) ask(picture.secondary, grids.second != nullptr);
    }
    if (grids.first && (!difference || grids.second)) {
      grids.coarse = up > 0;
      return grids;
    }
  }
  grids.first = thumbnail_of(data);
  grids.second = difference ? thumbnail_of(picture.secondary) : nullptr;
  grids.thumbnail = grids.first != nullptr;
  grids.coarse = true;
  if (difference && (!grids.first || !grids.second || grids.first->cell != grids.second->cell)) grids = {};
  result.blank |= !grids.first && hopeless;
  return grids;
}

void MapComposer::paint(Composition& result, const MapPicture& picture, const Segment& segment, const Grids& grids) {
  const CellGrid& grid = *grids.first;
  const MapStyle& style = picture.style;
  const bool lift = style.mode == MapMode::lift && !grids.second;
  const auto difference = grids.second ? cache_->difference(grids.first, grids.second, style.show_mean) : nullptr;
  const auto& codes = difference ? *difference : (style.show_mean ? grid.mean_code : grid.max_code);
  const auto& row_token = segment.mirrored ? *segment.x_token : *segment.y_token;
  const auto& key_token = segment.mirrored ? *segment.y_token : *segment.x_token;
  const int row0 = segment.mirrored ? segment.x0 : segment.y0, row1 = segment.mirrored ? segment.x1 : segment.y1;
  const int key0 = segment.mirrored ? segment.y0 : segment.x0, key1 = segment.mirrored ? segment.y1 : segment.x1;
  const auto cells = [&](const std::vector<std::int64_t>& token, int begin, int end, std::int64_t first,
                         std::int64_t count) {
    std::vector<std::int64_t> index(static_cast<std::size_t>(end - begin), -1);
    for (int i = begin; i < end; ++i) {
      const std::int64_t t = token[static_cast<std::size_t>(i)];
      const std::int64_t cell = t < 0 ? -1 : (t - first) / grid.cell;
      if (cell >= 0 && cell < count) index[static_cast<std::size_t>(i - begin)] = cell;
    }
    return index;
  };
  const auto rows = cells(row_token, row0, row1, grid.row_begin, grid.rows);
  const auto columns = cells(key_token, key0, key1, grid.column_begin, grid.columns);
  std::vector<std::int64_t> offset(rows.size(), 0);
  if (lift)
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (rows[i] >= 0)
        offset[i] =
            std::llround(codes_per_decade *
                         std::log10(static_cast<double>(grid.row_begin + rows[i] * grid.cell + grid.cell / 2 + 1)));
  const QRgb hidden = Theme::instance().grid().rgb();
  const bool two = split(picture);
  if (!two && !segment.mirrored && !style.hide_bands) {
    // The common case, once for each row of cells: rows of pixels in the same cells are alike.
    int before = -1;
    for (int y = segment.y0; y < segment.y1; ++y) {
      const auto i = static_cast<std::size_t>(y - segment.y0);
      if (rows[i] < 0) continue;
      auto* line = reinterpret_cast<QRgb*>(result.image.scanLine(y));
      if (before >= 0 && rows[i] == rows[i - 1]) {
        std::copy_n(reinterpret_cast<const QRgb*>(result.image.constScanLine(before)) + segment.x0,
                    segment.x1 - segment.x0, line + segment.x0);
        before = y;
        continue;
      }
      before = y;
      const std::uint16_t* row_codes = codes.data() + rows[i] * grid.columns;
      const QRgb* table = table_.data() + offset[i];
      for (std::size_t j = 0; j < columns.size(); ++j) {
        if (columns[j] < 0) continue;
        const std::uint16_t code = row_codes[columns[j]];
        if (code != 0) line[segment.x0 + static_cast<int>(j)] = code > 1 ? table[code] : table_[1];
      }
    }
    return;
  }
  for (int y = segment.y0; y < segment.y1; ++y) {
    auto* line = reinterpret_cast<QRgb*>(result.image.scanLine(y));
    for (int x = segment.x0; x < segment.x1; ++x) {
      const auto i = static_cast<std::size_t>(segment.mirrored ? x - segment.x0 : y - segment.y0);
      const auto j = static_cast<std::size_t>(segment.mirrored ? y - segment.y0 : x - segment.x0);
      const std::int64_t row = rows[i], column = columns[j];
      if (row < 0 || column < 0) continue;
      const bool upper =
          (*segment.x_token)[static_cast<std::size_t>(x)] > (*segment.y_token)[static_cast<std::size_t>(y)];
      if (two && upper != segment.mirrored) continue;
      const std::uint16_t code = codes[static_cast<std::size_t>(row * grid.columns + column)];
      if (code == 0) continue;
      if (style.hide_bands) {
        const std::int64_t first_key = grid.column_begin + column * grid.cell;
        if (first_key < num_sinks || grid.row_begin + row * grid.cell - (first_key + grid.cell - 1) < num_local) {
          line[x] = hidden;
          continue;
        }
      }
      line[x] = table_[static_cast<std::size_t>(code > 1 ? code + offset[i] : code)];
    }
  }
}

Composition MapComposer::compose(const MapPicture& picture) {
  Composition result;
  result.image = QImage(picture.size, QImage::Format_ARGB32_Premultiplied);
  if (result.image.isNull()) return result;
  result.image.fill(Qt::transparent);
  const MapDataPtr& data = picture.primary;
  if (!data || data->length <= 0 || !(picture.view.key_end > picture.view.key_begin) ||
      !(picture.view.query_end > picture.view.query_begin))
    return result;
  const MapStyle& style = picture.style;
  if (table_.empty() || table_style_.layout != style.layout || table_style_.colour_min != style.colour_min ||
      table_style_.colour_max != style.colour_max) {
    table_ = style.layout == MapLayout::difference ? difference_table(style.colour_min, style.colour_max)
                                                   : mass_table(style.colour_min, style.colour_max);
    table_style_ = style;
  }
  const int width = picture.size.width(), height = picture.size.height();
  const double dx = (picture.view.key_end - picture.view.key_begin) / width;
  const double dy = (picture.view.query_end - picture.view.query_begin) / height;
  std::vector<std::int64_t> x_token(static_cast<std::size_t>(width)), y_token(static_cast<std::size_t>(height));
  for (int x = 0; x < width; ++x)
    x_token[static_cast<std::size_t>(x)] = token_at(picture.view.key_begin, dx, x, data->length);
  for (int y = 0; y < height; ++y)
    y_token[static_cast<std::size_t>(y)] = token_at(picture.view.query_begin, dy, y, data->length);

  result.level = level_for(picture.view, picture.size, data->length);
  const std::int64_t side = record::tile_size << result.level;
  // Runs of pixels that share a tile row or column; -1 outside the map.
  struct Run {
    int begin, end;
    std::int64_t tile;
  };
  const auto runs = [side](const std::vector<std::int64_t>& token) {
    std::vector<Run> found;
    for (int i = 0; i < static_cast<int>(token.size()); ++i) {
      const std::int64_t t = token[static_cast<std::size_t>(i)];
      const std::int64_t tile = t < 0 ? -1 : t / side;
      if (found.empty() || found.back().tile != tile)
        found.push_back({i, i + 1, tile});
      else
        found.back().end = i + 1;
    }
    return found;
  };
  const auto columns = runs(x_token), rows = runs(y_token);
  const bool two = split(picture);
  for (const Run& row : rows) {
    for (const Run& column : columns) {
      if (row.tile < 0 || column.tile < 0) continue;
      Segment segment{column.begin, column.end, row.begin, row.end, false, &x_token, &y_token};
      for (const bool mirrored : {false, true}) {
        if (mirrored && !two) break;
        const std::int64_t tile_row = mirrored ? column.tile : row.tile,
                           tile_column = mirrored ? row.tile : column.tile;
        if (tile_column > tile_row) continue;
        const Grids grids =
            best(picture, mirrored ? picture.secondary : data, {result.level, tile_row, tile_column}, result);
        if (!grids.first) {
          ++result.empty_parts;
          continue;
        }
        segment.mirrored = mirrored;
        result.thumbnail |= grids.thumbnail;
        result.coarse |= grids.coarse;
        result.coarsest = std::max(result.coarsest, grids.first->cell);
        paint(result, picture, segment, grids);
      }
    }
  }
  if (style.overlay.any() || (style.mask_unattended && style.layout != MapLayout::difference))
    compose_overlay(result, picture, *cache_);
  return result;
}

std::vector<GridPtr> MapComposer::grids_in(const MapDataPtr& data, int level, const Viewport& view) {
  std::vector<GridPtr> result;
  if (!data || data->length <= 0) return result;
  Composition ignored;
  MapPicture picture;
  picture.primary = data;
  const std::int64_t side = record::tile_size << level;
  const auto tile_of = [&](double token) {
    return static_cast<std::int64_t>(std::clamp(token, 0.0, static_cast<double>(data->length - 1))) / side;
  };
  for (std::int64_t row = tile_of(view.query_begin); row <= tile_of(view.query_end); ++row) {
    for (std::int64_t column = tile_of(view.key_begin); column <= std::min(row, tile_of(view.key_end)); ++column) {
      const GridPtr grid = best(picture, data, {level, row, column}, ignored).first;
      if (grid && std::find(result.begin(), result.end(), grid) == result.end()) result.push_back(grid);
    }
  }
  return result;
}

CellValue MapComposer::value_at(const MapDataPtr& data, int level, MapPoint point) {
  CellValue value;
  if (!data || point.query < 0 || point.key < 0 || point.query >= data->length || point.key > point.query) return value;
  Composition ignored;
  MapPicture picture;
  picture.primary = data;
  const std::int64_t side = record::tile_size << level;
  const Grids grids = best(picture, data, {level, point.query / side, point.key / side}, ignored);
  if (!grids.first) return value;
  const CellGrid& grid = *grids.first;
  const std::int64_t row = (point.query - grid.row_begin) / grid.cell,
                     column = (point.key - grid.column_begin) / grid.cell;
  if (row < 0 || column < 0 || row >= grid.rows || column >= grid.columns) return value;
  const auto i = static_cast<std::size_t>(row * grid.columns + column);
  if (std::isnan(grid.max[i])) return value;
  return {true, grid.cell, grid.max[i], grid.mean[i]};
}

}  // namespace headroom::views
