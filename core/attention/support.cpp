// SPDX-License-Identifier: Apache-2.0
#include "attention/support.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/full.h>

#include <algorithm>

#include "base/error.h"

namespace headroom::attention {

SupportTile with_indices(const SupportTile& tile) {
  if (tile.indices.defined()) return tile;
  const std::int64_t rows = tile.groups * tile.rows();
  const at::Tensor mask = tile.mask.reshape({rows, tile.row_end});
  const at::Tensor counts = mask.sum(1);
  const at::Tensor pairs = mask.nonzero();  // row-major, so keys ascend within a row
  const at::Tensor row = pairs.select(1, 0);
  const at::Tensor start = at::cumsum(counts, 0) - counts;
  const at::Tensor place = at::arange(pairs.size(0), pairs.options()) - start.gather(0, row);
  const std::int64_t width = counts.max().item<std::int64_t>();
  const at::Tensor indices = at::full({rows * width}, -1, mask.options().dtype(at::kInt));
  indices.scatter_(0, row * width + place, pairs.select(1, 1).to(at::kInt));
  SupportTile result = tile;
  result.mask.reset();
  result.indices = indices.reshape({tile.groups, tile.rows(), width});
  result.counts = counts.to(at::kInt).reshape({tile.groups, tile.rows()});
  return result;
}

SupportTile on_host(const SupportTile& tile) {
  SupportTile result = with_indices(tile);
  result.indices = result.indices.to(at::kCPU).contiguous();
  result.counts = result.counts.to(at::kCPU).contiguous();
  return result;
}

std::vector<SupportBitmap> to_bitmaps(const std::vector<SupportTile>& tiles, std::int64_t length) {
  std::vector<SupportBitmap> bitmaps;
  for (const SupportTile& any : tiles) {
    const SupportTile tile = on_host(any);
    if (bitmaps.empty()) bitmaps.assign(static_cast<std::size_t>(tile.groups), SupportBitmap(length));
    if (std::ssize(bitmaps) != tile.groups || tile.row_begin < 0 || tile.row_end > length)
      throw Error(ErrorKind::internal, "support tiles of one layer do not fit together");
    const std::int64_t width = tile.indices.size(2);
    const auto* keys = tile.indices.const_data_ptr<std::int32_t>();
    const auto* count = tile.counts.const_data_ptr<std::int32_t>();
    for (SupportBitmap& bitmap : bitmaps) {
      for (std::int64_t query = tile.row_begin; query < tile.row_end; ++query, keys += width) {
        const std::int64_t chosen = std::min<std::int64_t>(*count++, width);
        for (std::int64_t i = 0; i < chosen; ++i) {
          if (keys[i] < 0 || keys[i] > query)
            throw Error(ErrorKind::internal, "a policy selected a key outside the history");
          bitmap.set(query, keys[i]);
        }
      }
    }
  }
  return bitmaps;
}

}  // namespace headroom::attention
