// SPDX-License-Identifier: GPL-3.0-or-later
// Composes the visible part of a map, with its overlay, into one image at device resolution. The level is chosen so
// that a cell covers at least one pixel: nothing is lost by decimation.
#pragma once

#include <QImage>
#include <QSize>
#include <map>
#include <utility>

#include "views/map/map_colours.h"
#include "views/map/tile_cache.h"

namespace headroom::views {

enum class MapLayout {
  single,
  difference,     ///< candidate minus baseline
  diagonal_split  ///< the second map mirrored into the upper triangle
};

struct MapStyle {
  MapLayout layout = MapLayout::single;
  MapMode mode = MapMode::probability;
  bool show_mean = false;   ///< zoomed out: the mean of a cell instead of its largest value
  bool hide_bands = false;  ///< sinks and local band (num_sinks, num_local)
  bool mask_unattended = false;  ///< cells of which the method attended to no pair are grey
  OverlayFlags overlay;
  double missed_from = usual_missed_from;  ///< missed mass of a cell from which it is orange
  double colour_min = 1e-6, colour_max = 1;
  bool ranks = false;  ///< the cells hold 1 / rank
  bool operator==(const MapStyle&) const = default;
};

struct MapPicture {
  QSize size;  ///< device pixels
  double pixel_ratio = 1;
  Viewport view;
  MapDataPtr primary, secondary;  ///< secondary: the candidate of difference and split
  MapStyle style;
};

struct Composition {
  QImage image;  ///< transparent where there is nothing
  int level = 0;
  std::vector<TileCache::Request> missing;  ///< most urgent first
  bool thumbnail = false;                   ///< part of it comes from the record's thumbnail
  bool coarse = false;                      ///< part of it is still coarser than `level`
  std::int64_t coarsest = 0;                ///< pairs a side of the coarsest cells that are drawn
  int empty_parts = 0;                      ///< tiles in sight with no picture at all yet
  bool blank = false;                       ///< for part of it there is nothing, and nothing will come
  bool missed_by_count = false;             ///< part of the orange counts missed keys: their mass is not known
};

/// Values of the cell that is drawn at a pair.
struct CellValue {
  bool found = false;
  std::int64_t cell = 1;  ///< tokens a cell, both ways
  float max = 0, mean = 0;
};

/// The finest level at which a cell is at least one pixel.
int level_for(const Viewport& view, QSize size, std::int64_t length);

class MapComposer {
 public:
  explicit MapComposer(TileCache* cache) : cache_(cache) {}

  Composition compose(const MapPicture& picture);
  /// What compose() would show at this pair.
  CellValue value_at(const MapDataPtr& data, int level, MapPoint point);
  /// The grids of `data` that a picture of `view` at `level` is drawn from, as far as they are there.
  std::vector<GridPtr> grids_in(const MapDataPtr& data, int level, const Viewport& view);
  void clear();  ///< forgets thumbnails (the data changed)

 private:
  struct Grids {
    GridPtr first, second;  ///< second: difference only
    bool thumbnail = false, coarse = false;
  };
  struct Segment;
  GridPtr thumbnail_of(const MapDataPtr& data);
  Grids best(const MapPicture& picture, const MapDataPtr& data, record::TileAddress address, Composition& result);
  void paint(Composition& result, const MapPicture& picture, const Segment& segment, const Grids& grids);

  TileCache* cache_;
  std::map<const MapData*, std::pair<std::weak_ptr<const MapData>, GridPtr>> thumbnails_;
  std::vector<QRgb> table_;
  MapStyle table_style_;
};

/// Draws the classes of the overlay over the image; adds tiles that are not there yet to `missing`.
void compose_overlay(Composition& result, const MapPicture& picture, TileCache& cache);

}  // namespace headroom::views
