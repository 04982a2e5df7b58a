// SPDX-License-Identifier: GPL-3.0-or-later
// The overlay: hit as an outline, missed in orange where the cell misses enough mass, wasted hatched. From sums per
// cell, so that one pair stays visible at every zoom.
#include <algorithm>
#include <cmath>

#include "views/map/map_composer.h"
#include "views/common/theme.h"

namespace headroom::views {
namespace {

constexpr std::uint8_t hit = OverlayGrid::hit_cell, missed = OverlayGrid::missed_cell,
                       wasted = OverlayGrid::wasted_cell, attended = OverlayGrid::attended_cell;

/// Classes of the visible cells and one more on each side, so that outlines know their neighbours.
struct Classes {
  std::int64_t row_begin = 0, column_begin = 0, rows = 0, columns = 0;  ///< cells
  std::vector<std::uint8_t> flags;
  std::vector<float> strength;  ///< of the orange, 0 … 1
  bool by_count = false;        ///< part of the orange counts keys, since their mass is not known
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

/// Cells of `wanted` that are in sight, from its own tile or from one that is `up` levels coarser: then a cell is given
/// an even share of what the coarser one holds, until its own tile is there.
void add_tile(Classes& classes, const OverlayGrid& tile, record::TileAddress wanted, int up, double missed_from,
              bool mirrored, bool two) {
  constexpr std::int64_t side = record::tile_size;
  const double pairs = std::pow(4.0, tile.address.level), share = std::pow(0.25, up);
  const bool weighed = !tile.mass_codes.empty();
  // Codes are even in the logarithm: what orange a mass has is a line through them.
  const double most = std::max(1.0, missed_from * 10), threshold = missed_from / share;
  const auto code_of = [&](double mass) {
    return codes_per_decade * (std::log10(std::max(mass, 1e-30)) + code_decades) + 2;
  };
  const double low = code_of(threshold);
  const double slope = 0.5 / std::max(1e-9, codes_per_decade * std::log10(most / std::max(missed_from, 1e-30)));
  const std::int64_t first_row = wanted.row * side, first_column = wanted.column * side;
  // What is in sight, in the map's own rows and columns.
  const std::int64_t sight_row = mirrored ? classes.column_begin : classes.row_begin,
                     sight_rows = mirrored ? classes.columns : classes.rows,
                     sight_column = mirrored ? classes.row_begin : classes.column_begin,
                     sight_columns = mirrored ? classes.rows : classes.columns;
  const std::int64_t row_end = std::min(first_row + side, sight_row + sight_rows),
                     column_end = std::min(first_column + side, sight_column + sight_columns);
  for (std::int64_t row = std::max(first_row, sight_row); row < row_end; ++row) {
    const std::int64_t from_row = (row >> up) - tile.address.row * side;
    if (from_row < 0 || from_row >= tile.rows) continue;
    for (std::int64_t column = std::max(first_column, sight_column); column < column_end; ++column) {
      const std::int64_t from_column = (column >> up) - tile.address.column * side;
      if (from_column < 0 || from_column >= tile.columns) continue;
      if (two && mirrored && row == column) continue;  // the diagonal belongs to the first map
      const auto i = static_cast<std::size_t>(from_row * tile.columns + from_column);
      std::uint8_t flag = tile.flags[i];
      float strength = 0;
      if (flag & missed) {
        if (!weighed) {
          // A single pair in the cell must show, a field of them must not hide the map.
          strength = static_cast<float>(0.35 + 0.65 * std::sqrt(std::min(1.0, tile.missed[i] / pairs)));
        } else if (static_cast<double>(tile.missed_mass[i]) >= threshold) {
          strength = static_cast<float>(std::clamp(0.5 + slope * (tile.mass_codes[i] - low), 0.5, 1.0));
        }
        if (strength <= 0) flag &= static_cast<std::uint8_t>(~missed);
        classes.by_count |= !weighed;
      }
      const std::int64_t r = (mirrored ? column : row) - classes.row_begin,
                         c = (mirrored ? row : column) - classes.column_begin;
      const auto at = static_cast<std::size_t>(r * classes.columns + c);
      classes.flags[at] = flag;
      classes.strength[at] = strength;
    }
  }
}

/// `weight`: of 256.
void blend(QRgb& pixel, QRgb colour, int weight) {
  const int keep = qAlpha(pixel) * (256 - weight);  // of 255 * 256
  const auto mix = [&](int under, int over) {
    return std::min(255, (under * keep + 255 * over * weight + 32640) / 65280);
  };
  pixel = qRgba(mix(qRed(pixel), qRed(colour)), mix(qGreen(pixel), qGreen(colour)), mix(qBlue(pixel), qBlue(colour)),
                std::max(qAlpha(pixel), std::min(255, weight * 255 / 256)));
}

constexpr int share_of(double alpha) {
  return static_cast<int>(alpha * 256 + 0.5);
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
        for (int up = 0; level + up < record::num_levels(data.length); ++up) {
          const auto tile = cache.find_overlay(*from, {level + up, address.row >> up, address.column >> up});
          if (up == 0 && !tile) missing.push_back({from, address, true});
          if (!tile) continue;
          add_tile(classes, *tile, address, up, picture.style.missed_from, mirrored, two);
          break;
        }
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
  const bool show_wasted = picture.style.overlay.wasted, show_hit = picture.style.overlay.hit,
             show_missed = picture.style.overlay.missed;
  const auto drawn =
      static_cast<std::uint8_t>((show_wasted ? wasted : 0) | (show_hit ? hit : 0) | (show_missed ? missed : 0));
  // Then rows of pixels in the same row of cells are alike, as they are in the map below: one is copied.
  const bool alike = !two && !show_hit && !large && !(show_wasted && cell_pixels >= period);
  for (int y = 0; y < picture.size.height(); ++y) {
    const Place& py = ys[static_cast<std::size_t>(y)];
    if (py.cell < 0) continue;
    auto* pixels = reinterpret_cast<QRgb*>(result.image.scanLine(y));
    if (alike && y > 0 && ys[static_cast<std::size_t>(y - 1)].cell == py.cell) {
      std::copy_n(reinterpret_cast<const QRgb*>(result.image.constScanLine(y - 1)), picture.size.width(), pixels);
      continue;
    }
    const std::int64_t row = (py.cell - classes.row_begin) * classes.columns - classes.column_begin;
    for (int x = 0; x < picture.size.width(); ++x) {
      const Place& px = xs[static_cast<std::size_t>(x)];
      if (px.cell < 0) continue;
      const auto cell = static_cast<std::size_t>(row + px.cell);  // one more on each side is there
      const std::uint8_t flag = classes.flags[cell];
      if (!(flag & drawn) && !(mask && flag)) continue;
      if (mask && !(flag & attended) && qAlpha(pixels[x])) pixels[x] = hidden;
      if ((flag & wasted) && show_wasted) {
        if (cell_pixels < period)
          blend(pixels[x], hatch, share_of(0.8));
        else if ((x + y) % period < 2 * line)
          blend(pixels[x], hatch, share_of(0.95));
      }
      if ((flag & hit) && show_hit) {
        // Distance to the nearest edge behind which no hit lies.
        int edge = 1 << 20;
        const auto consider = [&](int distance, std::size_t neighbour) {
          if (distance < 2 * line && !(classes.flags[neighbour] & hit)) edge = std::min(edge, distance);
        };
        const auto across = static_cast<std::size_t>(classes.columns);
        consider(px.before, cell - 1);
        consider(px.after, cell + 1);
        consider(py.before, cell - across);
        consider(py.after, cell + across);
        if (edge < line)
          blend(pixels[x], outline, share_of(large ? 1.0 : 0.8));
        else if (large && edge < 2 * line)
          blend(pixels[x], casing, share_of(0.8));
      }
      if ((flag & missed) && show_missed) {
        if (large) {
          const int edge = std::min(std::min(px.before, px.after), std::min(py.before, py.after));
          blend(pixels[x], orange, share_of(edge < 2 * line ? 1.0 : 0.45));
        } else {
          blend(pixels[x], orange, share_of(static_cast<double>(classes.strength[cell])));
        }
      }
    }
  }
}

}  // namespace headroom::views
