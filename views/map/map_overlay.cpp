// SPDX-License-Identifier: GPL-3.0-or-later
// The overlay: hit as an outline, missed in orange where the cell misses enough mass, wasted hatched. From sums per
// cell, so that one pair stays visible at every zoom.
#include <algorithm>
#include <cmath>

#include "views/map/map_composer.h"
#include "views/common/theme.h"

namespace headroom::views {
namespace {

enum Flag : std::uint8_t { hit = 1, missed = 2, wasted = 4, attended = 8, known = 16 };

/// Classes of the visible cells and one more on each side, so that outlines know their neighbours.
struct Classes {
  std::int64_t row_begin = 0, column_begin = 0, rows = 0, columns = 0;  ///< cells
  std::vector<std::uint8_t> flags;
  std::vector<float> strength;  ///< of the orange, 0 … 1
  bool by_count = false;        ///< part of the orange counts keys, since their mass is not known
  std::uint8_t at(std::int64_t row, std::int64_t column) const {
    row -= row_begin;
    column -= column_begin;
    if (row < 0 || column < 0 || row >= rows || column >= columns) return 0;
    return flags[static_cast<std::size_t>(row * columns + column)];
  }
};

/// Where a pixel lies in its cell.
struct Place {
  std::int64_t cell = -1;
  int before = 0, after = 0;  ///< pixels to the cell's two edges
};

std::vector<Place> places(double begin, double end, int pixels, std::int64_t length, int level) {
  std::vector<Place> result(static_cast<std::size_t>(pixels));
  const double step = (end - begin) / pixels;
  int first = 0;
  const auto close = [&](int last) {
    for (int i = first; i < last; ++i) {
      result[static_cast<std::size_t>(i)].before = i - first;
      result[static_cast<std::size_t>(i)].after = last - 1 - i;
    }
    first = last;
  };
  for (int i = 0; i < pixels; ++i) {
    const double token = std::floor(begin + (i + 0.5) * step);
    auto& place = result[static_cast<std::size_t>(i)];
    if (token >= 0 && token < static_cast<double>(length)) place.cell = static_cast<std::int64_t>(token) >> level;
    if (i > 0 && place.cell != result[static_cast<std::size_t>(i - 1)].cell) close(i);
  }
  close(pixels);
  return result;
}

void add_tile(Classes& classes, const record::OverlayTile& tile, double missed_from, bool mirrored, bool two) {
  const double pairs = std::pow(4.0, tile.address.level);
  const bool weighed = !tile.missed_mass.empty();
  const double most = std::max(1.0, missed_from * 10);
  for (std::int64_t row = 0; row < tile.rows; ++row) {
    for (std::int64_t column = 0; column < tile.columns; ++column) {
      const auto i = static_cast<std::size_t>(row * tile.columns + column);
      std::uint8_t flag = known;
      if (tile.hit[i]) flag |= hit;
      if (tile.wasted[i]) flag |= wasted;
      if (tile.selected[i]) flag |= attended;
      double strength = 0;
      if (tile.missed[i]) {
        const double mass = weighed ? static_cast<double>(tile.missed_mass[i]) : 0;
        if (!weighed) {
          // A single pair in the cell must show, a field of them must not hide the map.
          strength = 0.35 + 0.65 * std::sqrt(std::min(1.0, tile.missed[i] / pairs));
        } else if (mass >= missed_from) {
          strength = 0.5 + 0.5 * scale_position(mass, missed_from, most);
        }
        if (strength > 0) flag |= missed;
      }
      std::int64_t r = tile.address.row * record::tile_size + row, c = tile.address.column * record::tile_size + column;
      if (mirrored) std::swap(r, c);
      if (two && mirrored && r == c) continue;  // the diagonal belongs to the first map
      r -= classes.row_begin;
      c -= classes.column_begin;
      if (r < 0 || c < 0 || r >= classes.rows || c >= classes.columns) continue;
      const auto at = static_cast<std::size_t>(r * classes.columns + c);
      classes.flags[at] = flag;
      classes.strength[at] = static_cast<float>(strength);
      classes.by_count |= !weighed && tile.missed[i] > 0;
    }
  }
}

void blend(QRgb& pixel, QRgb colour, double alpha) {
  const double keep = (1 - alpha) * qAlpha(pixel) / 255.0;
  const auto mix = [&](int under, int over) { return static_cast<int>(std::lround(under * keep + over * alpha)); };
  const double base = qAlpha(pixel) ? 1 : 0;
  pixel = qRgba(mix(static_cast<int>(qRed(pixel) * base), qRed(colour)),
                mix(static_cast<int>(qGreen(pixel) * base), qGreen(colour)),
                mix(static_cast<int>(qBlue(pixel) * base), qBlue(colour)),
                std::max(qAlpha(pixel), static_cast<int>(255 * alpha)));
}

}  // namespace

void compose_overlay(Composition& result, const MapPicture& picture, TileCache& cache) {
  const int level = result.level;
  const auto& data = *picture.primary;
  const bool two = picture.style.layout == MapLayout::diagonal_split && picture.secondary;
  const auto xs = places(picture.view.key_begin, picture.view.key_end, picture.size.width(), data.length, level);
  const auto ys = places(picture.view.query_begin, picture.view.query_end, picture.size.height(), data.length, level);
  const auto bounds = [](const std::vector<Place>& list, std::int64_t& begin, std::int64_t& count) {
    std::int64_t low = -1, high = -1;
    for (const Place& place : list) {
      if (place.cell < 0) continue;
      if (low < 0) low = place.cell;
      high = place.cell;
    }
    begin = low - 1;
    count = low < 0 ? 0 : high - low + 3;
  };
  Classes classes;
  bounds(xs, classes.column_begin, classes.columns);
  bounds(ys, classes.row_begin, classes.rows);
  if (classes.rows == 0 || classes.columns == 0) return;
  classes.flags.assign(static_cast<std::size_t>(classes.rows * classes.columns), 0);
  classes.strength.assign(classes.flags.size(), 0);

  const auto tile_of = [](std::int64_t cell) { return std::max<std::int64_t>(0, cell) / record::tile_size; };
  const std::int64_t last = std::max<std::int64_t>(0, (data.length - 1) >> level) / record::tile_size;
  std::vector<TileCache::Request> missing;
  for (std::int64_t row = tile_of(classes.row_begin); row <= std::min(last, tile_of(classes.row_begin + classes.rows));
       ++row) {
    for (std::int64_t column = tile_of(classes.column_begin);
         column <= std::min(last, tile_of(classes.column_begin + classes.columns)); ++column) {
      for (const bool mirrored : {false, true}) {
        const MapDataPtr& from = mirrored ? picture.secondary : picture.primary;
        if ((mirrored && !two) || !from || !from->has_overlay()) continue;
        const record::TileAddress address{level, mirrored ? column : row, mirrored ? row : column};
        if (address.column > address.row) continue;
        if (const auto tile = cache.find_overlay(*from, address))
          add_tile(classes, *tile, picture.style.missed_from, mirrored, two);
        else
          missing.push_back({from, address, true});
      }
    }
  }
  // Counting bits is far cheaper than a map tile: it comes first.
  result.missing.insert(result.missing.begin(), missing.begin(), missing.end());
  result.missed_by_count = classes.by_count && picture.style.overlay.missed;

  const Theme& theme = Theme::instance();
  const QRgb orange = theme.missed().rgb(), hatch = theme.wasted().rgb();
  const QRgb hidden = theme.border().rgb();
  const bool mask = picture.style.mask_unattended && picture.style.layout != MapLayout::difference;
  const QRgb outline = theme.map_outline().rgb(), casing = theme.map_casing().rgb();
  const double tokens = (picture.view.key_end - picture.view.key_begin) / picture.size.width();
  const double cell_pixels = std::pow(2.0, level) / tokens;
  const bool large = cell_pixels >= 6 * picture.pixel_ratio;
  const int line = std::max(1, static_cast<int>(std::lround(picture.pixel_ratio)));
  const int period = 6 * line;
  for (int y = 0; y < picture.size.height(); ++y) {
    const Place& py = ys[static_cast<std::size_t>(y)];
    if (py.cell < 0) continue;
    auto* pixels = reinterpret_cast<QRgb*>(result.image.scanLine(y));
    for (int x = 0; x < picture.size.width(); ++x) {
      const Place& px = xs[static_cast<std::size_t>(x)];
      if (px.cell < 0) continue;
      const std::uint8_t flag = classes.at(py.cell, px.cell);
      if (!flag) continue;
      if (mask && !(flag & attended) && qAlpha(pixels[x])) pixels[x] = hidden;
      if ((flag & wasted) && picture.style.overlay.wasted) {
        if (cell_pixels < period)
          blend(pixels[x], hatch, 0.8);
        else if ((x + y) % period < 2 * line)
          blend(pixels[x], hatch, 0.95);
      }
      if ((flag & hit) && picture.style.overlay.hit) {
        // Distance to the nearest edge behind which no hit lies.
        int edge = 1 << 20;
        const auto consider = [&](int distance, std::int64_t row, std::int64_t column) {
          if (distance < 2 * line && !(classes.at(row, column) & hit)) edge = std::min(edge, distance);
        };
        consider(px.before, py.cell, px.cell - 1);
        consider(px.after, py.cell, px.cell + 1);
        consider(py.before, py.cell - 1, px.cell);
        consider(py.after, py.cell + 1, px.cell);
        if (edge < line)
          blend(pixels[x], outline, large ? 1.0 : 0.8);
        else if (large && edge < 2 * line)
          blend(pixels[x], casing, 0.8);
      }
      if ((flag & missed) && picture.style.overlay.missed) {
        if (large) {
          const int edge = std::min(std::min(px.before, px.after), std::min(py.before, py.after));
          blend(pixels[x], orange, edge < 2 * line ? 1.0 : 0.45);
        } else {
          blend(pixels[x], orange,
                static_cast<double>(classes.strength[static_cast<std::size_t>(
                    (py.cell - classes.row_begin) * classes.columns + px.cell - classes.column_begin)]));
        }
      }
    }
  }
}

}  // namespace headroom::views
