// SPDX-License-Identifier: Apache-2.0
// Supports: which keys the queries of a layer attend to (METHOD.md, "Words"), for each head group (base/method.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "base/support_bitmap.h"

namespace headroom::attention {

/// The supports of neighbouring rows, on the device and in the form that the backend made them: as indices or as a mask.
struct SupportTile {
  std::int64_t row_begin = 0, row_end = 0;
  std::int64_t groups = 1;      ///< G: the layer, its KV heads or its query heads
  std::int64_t shared_rows = 1; ///< so many neighbouring rows have (nearly) the same keys: backends choose by it
  at::Tensor indices;           ///< [G, R, K] int32, key positions ascending, -1 behind the row's count
  at::Tensor counts;            ///< [G, R] int32
  at::Tensor mask;              ///< [G, R, row_end] bool; undefined where there are indices

  std::int64_t rows() const { return row_end - row_begin; }
};

/// Receives tiles in row order, covering every row once. May be empty.
using SupportSink = std::function<void(const SupportTile&)>;

/// The same tile as indices, on its device.
SupportTile with_indices(const SupportTile& tile);
/// Contiguous indices and counts on the CPU.
SupportTile on_host(const SupportTile& tile);

/// Tiles of a whole prompt as one bitmap a group; empty for no tiles. Throws an internal error for a key outside its
/// row's history.
std::vector<SupportBitmap> to_bitmaps(const std::vector<SupportTile>& tiles, std::int64_t length);

}  // namespace headroom::attention
