// SPDX-License-Identifier: Apache-2.0
#include "experiment/verify/verify_parts.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace headroom::experiment {

namespace reference = attention::reference;
using attention::LayerQuery;

at::Tensor normal_values(std::mt19937& random, const std::vector<std::int64_t>& sizes, float sigma) {
  const at::Tensor values = at::empty(sizes, at::TensorOptions().dtype(at::kFloat));
  std::normal_distribution<float> normal;
  for (std::int64_t i = 0; i < values.numel(); ++i) values.mutable_data_ptr<float>()[i] = sigma * normal(random);
  return values;
}

double largest_difference(const at::Tensor& found, const std::vector<double>& expected) {
  const at::Tensor values = found.to(at::kCPU).to(at::kDouble).contiguous();
  if (values.numel() != static_cast<std::int64_t>(expected.size())) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(values.const_data_ptr<double>()[i] - expected[i]);
    largest = difference <= largest    ? largest
              : std::isnan(difference) ? std::numeric_limits<double>::infinity()
                                       : difference;
  }
  return largest;
}

double rounding_slack(const std::vector<double>& expected) {
  double largest = 1;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  return 8 * std::numeric_limits<float>::epsilon() * largest;
}

at::Tensor textbook(const LayerQuery& query, const std::vector<reference::Supports>& groups) {
  const std::int64_t length = query.length(), group = query.num_q_heads() / query.num_kv_heads();
  const std::int64_t num_groups = std::ssize(groups);
  at::Tensor mask = at::full({num_groups, length, length}, -std::numeric_limits<double>::infinity(),
                             at::TensorOptions().dtype(at::kFloat));
  float* row_mask = mask.mutable_data_ptr<float>();
  for (const reference::Supports& supports : groups)
    for (std::size_t row = 0; row < supports.size(); ++row, row_mask += length)
      for (const std::int64_t key : supports[row]) row_mask[key] = 0;
  mask = mask.repeat_interleave(query.num_q_heads() / num_groups, 0);
  const at::Tensor k = query.k.repeat_interleave(group, 0), v = query.v.repeat_interleave(group, 0);
  const at::Tensor scores = at::matmul(query.q, k.transpose(1, 2)).mul(query.scale).add(mask.to(query.q.options()));
  return at::matmul(at::softmax(scores, -1), v);
}

reference::Supports all_keys(std::int64_t length) {
  reference::Supports supports(static_cast<std::size_t>(length));
  for (std::int64_t row = 0; row < length; ++row) {
    for (std::int64_t key = 0; key <= row; ++key) supports[static_cast<std::size_t>(row)].push_back(key);
  }
  return supports;
}

attention::reference::Supports supports_of(const std::vector<attention::SupportTile>& tiles, std::int64_t group) {
  attention::reference::Supports supports;
  for (const auto& any : tiles) {
    const attention::SupportTile tile = attention::on_host(any);
    for (std::int64_t row = 0; row < tile.rows(); ++row) {
      const std::int64_t place = group * tile.rows() + row;
      const std::int32_t* keys = tile.indices.const_data_ptr<std::int32_t>() + place * tile.indices.size(2);
      supports.emplace_back(keys, keys + tile.counts.const_data_ptr<std::int32_t>()[place]);
    }
  }
  return supports;
}

}  // namespace headroom::experiment
