// SPDX-License-Identifier: Apache-2.0
// Room that one pass over a prompt needs again in every layer, by name: of a worker's piece of rows, and of all rows.
// Mixers and MLPs share it with the loop, whose own names are "normed", "out" and "after_norm".
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/TensorOptions.h>

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

namespace headroom::model {

class Workspace {
 public:
  /// `largest`: rows of the largest piece.
  Workspace(at::TensorOptions options, std::int64_t workers, std::int64_t largest)
      : options_(options), largest_(largest), pieces_(static_cast<std::size_t>(workers)) {}

  /// [rows, columns] without gaps, whatever they hold. Belongs to the worker until it asks for the name again. Workers
  /// may ask at the same time.
  at::Tensor piece(std::string_view name, std::int64_t worker, std::int64_t rows, std::int64_t columns);
  /// A tensor for all rows: the one of that name, unless somebody (a cache, an observer) has kept it, or its shape
  /// changes. From one thread at a time.
  at::Tensor whole(std::string_view name, at::IntArrayRef shape);

 private:
  using Named = std::map<std::string_view, at::Tensor>;  // names are literals

  at::TensorOptions options_;
  std::int64_t largest_;
  std::vector<Named> pieces_;
  Named wholes_;
};

}  // namespace headroom::model
