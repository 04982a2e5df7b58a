// SPDX-License-Identifier: Apache-2.0
#include <ATen/ops/empty.h>

#include <cmath>
#include <random>

#include "indexer/indexer.h"

namespace headroom::indexer {

std::shared_ptr<const Indexer> random_indexer(std::int64_t width, std::int64_t dim, std::span<const int> layers) {
  auto made = std::make_shared<Indexer>();
  made->metadata.index_dim = dim;
  made->sha256 = "random";
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 2 / std::sqrt(static_cast<float>(width)));
  const auto make = [&](std::vector<std::int64_t> sizes, bool ones) {
    const at::Tensor tensor = at::empty(sizes, at::TensorOptions().dtype(at::kFloat));
    float* values = tensor.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < tensor.numel(); ++i) values[i] = ones ? 1.0f : normal(random);
    return tensor;
  };
  for (const int layer : layers)
    made->layers[layer] = {make({dim, width}, false), make({dim, width}, false), make({dim}, true)};
  return made;
}

}  // namespace headroom::indexer
