// SPDX-License-Identifier: Apache-2.0
#include "model/workspace.h"

#include <ATen/ops/empty.h>

#include <algorithm>

namespace headroom::model {

at::Tensor Workspace::piece(std::string_view name, std::int64_t worker, std::int64_t rows, std::int64_t columns) {
  at::Tensor& room = pieces_[static_cast<std::size_t>(worker)][name];
  if (!room.defined() || room.numel() < rows * columns)
    room = at::empty({std::max(rows, largest_) * columns}, options_);
  return room.narrow(0, 0, rows * columns).view({rows, columns});
}

at::Tensor Workspace::whole(std::string_view name, at::IntArrayRef shape) {
  at::Tensor& tensor = wholes_[name];
  if (!tensor.defined() || tensor.sizes() != shape || tensor.use_count() > 1 || tensor.storage().use_count() > 1)
    tensor = at::empty(shape, options_);
  return tensor;
}

}  // namespace headroom::model
