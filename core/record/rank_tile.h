// SPDX-License-Identifier: Apache-2.0
// Map tiles of ranks: the place of each key in its row by p. A rank needs its whole row, so such a tile costs what its
// rows cost, however few of their keys it shows.
#pragma once

#include <stop_token>

#include "record/tiles.h"

namespace headroom::record {

/// Cells hold 1 / rank, so that the largest is the best: 1 for the key with most p of its row (ties to the lower
/// position, as rank_in_row()). `max` is of the best rank in the cell, `mean` the same. NaN where no causal pair or not
/// kept; a stop request ends it early with an empty tile.
Tile compute_rank_tile(const LayerStream& stream, HeadSelector head, TileAddress address, std::stop_token stop = {});
/// Multiply-adds that it takes, about.
double rank_tile_work(const LayerStream& stream, HeadSelector head, TileAddress address);

}  // namespace headroom::record
