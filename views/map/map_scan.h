// SPDX-License-Identifier: GPL-3.0-or-later
// Questions about a map that look through many rows or cells: for threads other than the window's.
#pragma once

#include <optional>
#include <stop_token>
#include <vector>

#include "views/map/map_data.h"
#include "views/map/tile_cache.h"

namespace headroom::views {

struct ValueRange {
  double low = 0, high = 0;
};
/// Colours from the 5th percentile to nearly the largest of what `view` shows, sampled at 160 x 160 places; `lift`:
/// times the keys that each row sees. None where there is too little, or a stop was requested.
std::optional<ValueRange> fitting_range(const std::vector<GridPtr>& grids, const Viewport& view, bool mean, bool lift,
                                        const std::stop_token& stop);

struct MissedSearch {
  MapPoint found;         ///< {-1, -1}: none
  MapPoint next;          ///< where to go on
  bool finished = false;  ///< to the last row
};
/// The first missed pair after `from` in reading order whose probability, where it is known, is at least `least`: those
/// that map and text mark. Looks through about `max_bytes` of bitmaps, a probability counting as much as some kilobytes
/// of them.
MissedSearch find_missed(const MapData& data, MapPoint from, double least, std::size_t max_bytes,
                         const std::stop_token& stop = {});

}  // namespace headroom::views
