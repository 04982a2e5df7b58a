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
  std::vector<std::uint8_t> weights;  ///< of the orange: 256ths less one; 0: none
  bool by_count = false;              ///< part of the orange counts keys, since their mass is not known
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

constexpr int share_of(double alpha) {
  return static_cast<int>(alpha * 256 + 0.5);
}

/// How orange the cells of a tile are.
class Orange {
 public:
  /// The tile is `up` levels coarser than the cells: each is given an even share of what a coarser one holds.
  Orange(const OverlayGrid& tile, int up, double missed_from)
      : tile_(tile),
        weighed_(!tile.mass_codes.empty()),
        pairs_(std::pow(4.0, tile.address.level)),
        threshold_(missed_from / std::pow(0.25, up)) {
    // Codes are even in the logarithm: what orange a mass has is a line through them.
    const double most = std::max(1.0, missed_from * 10);
    low_ = codes_per_decade * (std::log10(std::max(threshold_, 1e-30)) + code_decades) + 2;
    slope_ = 0.5 / std::max(1e-9, codes_per_decade * std::log10(most / std::max(missed_from, 1e-30)));
  }
  bool weighed() const { return weighed_; }
  /// Of a cell that misses something.
  std::uint8_t weight(std::size_t i) const {
    double strength;
    if (!weighed_)  // a single pair in the cell must show, a field of them must not hide the map
      strength = 0.35 + 0.65 * std::sqrt(std::min(1.0, tile_.missed[i] / pairs_));
    else if (static_cast<double>(tile_.missed_mass[i]) >= threshold_)
      strength = std::clamp(0.5 + slope_ * (tile_.mass_codes[i] - low_), 0.5, 1.0);
    else
      return 0;
    return static_cast<std::uint8_t>(share_of(strength) - 1);
  }

 private:
  const OverlayGrid& tile_;
  bool weighed_;
  double pairs_, threshold_, low_ = 0, slope_ = 0;
};

/// Cells of `wanted` that are in sight, from its own tile or from one that is `up` levels coarser, until its own is
/// there.
void add_tile(Classes& classes, const OverlayGrid& tile, record::TileAddress wanted, int up, double missed_from) {
  constexpr std::int64_t side = record::tile_size;
  const Orange orange(tile, up, missed_from);
  const std::int64_t first_row = wanted.row * side, first_column = wanted.column * side;
  const std::int64_t tile_row = tile.address.row * side, tile_column = tile.address.column * side;
  const std::int64_t row_begin = std::max(first_row, classes.row_begin),
                     row_end = std::min({first_row + side, classes.row_begin + classes.rows,
                                         (tile_row + tile.rows) << up}),
                     column_begin = std::max(first_column, classes.column_begin),
                     column_end = std::min({first_column + side, classes.column_begin + classes.columns,
                                            (tile_column + tile.columns) << up});
  if (column_begin >= column_end) return;
  const auto count = static_cast<std::size_t>(column_end - column_begin);
  std::int64_t before = -1;
  std::size_t copied_from = 0;
  for (std::int64_t row = row_begin; row < row_end; ++row) {
    const auto at = static_cast<std::size_t>((row - classes.row_begin) * classes.columns + column_begin -
                                             classes.column_begin);
    std::uint8_t *flags = classes.flags.data() + at, *weights = classes.weights.data() + at;
    const std::int64_t from_row = (row >> up) - tile_row;
    if (from_row == before) {
      std::copy_n(classes.flags.data() + copied_from, count, flags);
      std::copy_n(classes.weights.data() + copied_from, count, weights);
      continue;
    }
    before = from_row;
    copied_from = at;
    const std::int64_t base = from_row * tile.columns - tile_column;
    for (std::int64_t column = column_begin; column < column_end;) {
      // All cells that lie in the same one of the tile.
      const std::int64_t next = std::min(column_end, ((column >> up) + 1) << up);
      const auto i = static_cast<std::size_t>(base + (column >> up));
      std::uint8_t flag = tile.flags[i], weight = 0;
      if (flag & missed) {
        weight = orange.weight(i);
        if (weight == 0) flag &= static_cast<std::uint8_t>(~missed);
        classes.by_count |= !orange.weighed();
      }
      for (; column < next; ++column) {
        *flags++ = flag;
        *weights++ = weight;
      }
    }
  }
}

/// The same of a map that is mirrored into the upper triangle: rows of the picture are keys.
void add_mirrored_tile(Classes& classes, const OverlayGrid& tile, record::TileAddress wanted, int up,
                       double missed_from) {
  constexpr std::int64_t side = record::tile_size;
  const Orange orange(tile, up, missed_from);
  const std::int64_t first_row = wanted.row * side, first_column = wanted.column * side;
  const std::int64_t row_end = std::min(first_row + side, classes.column_begin + classes.columns),
                     column_end = std::min(first_column + side, classes.row_begin + classes.rows);
  for (std::int64_t row = std::max(first_row, classes.column_begin); row < row_end; ++row) {
    const std::int64_t from_row = (row >> up) - tile.address.row * side;
    if (from_row < 0 || from_row >= tile.rows) continue;
    for (std::int64_t column = std::max(first_column, classes.row_begin); column < column_end; ++column) {
      const std::int64_t from_column = (column >> up) - tile.address.column * side;
      if (from_column < 0 || from_column >= tile.columns) continue;
      if (row == column) continue;  // the diagonal belongs to the first map
      const auto i = static_cast<std::size_t>(from_row * tile.columns + from_column);
      std::uint8_t flag = tile.flags[i], weight = 0;
      if (flag & missed) {
        weight = orange.weight(i);
        if (weight == 0) flag &= static_cast<std::uint8_t>(~missed);
        classes.by_count |= !orange.weighed();
      }
      const auto at = static_cast<std::size_t>((column - classes.row_begin) * classes.columns + row -
                                               classes.column_begin);
      classes.flags[at] = flag;
      classes.weights[at] = weight;
    }
  }
}

/// `weight`: of 256.
void blend(QRgb& pixel, QRgb colour, int weight) {
  if (qAlpha(pixel) == 255) {  // as below, two channels at a time
    const auto both = [&](QRgb mask, int shift) {
      const QRgb under = pixel >> shift & mask, over = colour >> shift & mask;
      const auto part = static_cast<QRgb>(weight);
      return ((under * (256 - part) + over * part + 0x00800080) >> 8 & mask) << shift;
    };
    pixel = 0xff000000u | both(0x00ff00ff, 0) | both(0x000000ff, 8);
    return;
  }
  const int keep = qAlpha(pixel) * (256 - weight);  // of 255 * 256
  const auto mix = [&](int under, int over) {
    return std::min(255, (under * keep + 255 * over * weight + 32640) / 65280);
  };
  pixel = qRgba(mix(qRed(pixel), qRed(colour)), mix(qGreen(pixel), qGreen(colour)), mix(qBlue(pixel), qBlue(colour)),
                std::max(qAlpha(pixel), std::min(255, weight * 255 / 256)));
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
  classes.weights.assign(classes.flags.size(), 0);

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
          if (mirrored)
            add_mirrored_tile(classes, *tile, address, up, picture.style.missed_from);
          else
            add_tile(classes, *tile, address, up, picture.style.missed_from);
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
  // Orange alone, the usual case: nothing but a weight for each cell.
  const bool only_missed = !show_hit && !show_wasted && !large && !mask;
  std::vector<std::int32_t> place_of_x;
  if (only_missed) {
    if (!show_missed) return;
    // Beside the map: the cell behind its last one, or before its first, which holds nothing.
    const std::int64_t beside = xs.front().cell < 0 ? 0 : classes.columns - 1;
    for (const Place& px : xs)
      place_of_x.push_back(static_cast<std::int32_t>(px.cell < 0 ? beside : px.cell - classes.column_begin));
  }
  for (int y = 0; y < picture.size.height(); ++y) {
    const Place& py = ys[static_cast<std::size_t>(y)];
    if (py.cell < 0) continue;
    auto* pixels = reinterpret_cast<QRgb*>(result.image.scanLine(y));
    if (alike && y > 0 && ys[static_cast<std::size_t>(y - 1)].cell == py.cell) {
      std::copy_n(reinterpret_cast<const QRgb*>(result.image.constScanLine(y - 1)), picture.size.width(), pixels);
      continue;
    }
    if (only_missed) {
      const std::uint8_t* weights = classes.weights.data() + (py.cell - classes.row_begin) * classes.columns;
      for (std::size_t x = 0; x < place_of_x.size(); ++x)
        if (const int weight = weights[place_of_x[x]]; weight > 0) blend(pixels[x], orange, weight + 1);
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
          blend(pixels[x], orange, classes.weights[cell] + 1);
        }
      }
    }
  }
}

}  // namespace headroom::views
