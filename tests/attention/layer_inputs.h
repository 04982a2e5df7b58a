// SPDX-License-Identifier: Apache-2.0
// Layer inputs for tests: random with structure (random q and k alone are nearly uniform and hide selection errors),
// tied, or not finite.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/nan_to_num.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "attention/attend.h"
#include "attention/backend.h"
#include "attention/policy.h"
#include "attention/reference.h"
#include "attention/registry.h"

namespace headroom::attention::testing {

struct Shape {
  std::int64_t length, num_q_heads, num_kv_heads, head_dim;
  c10::ScalarType dtype = at::kFloat;
  std::string text() const {
    return "L " + std::to_string(length) + " heads " + std::to_string(num_q_heads) + ":" +
           std::to_string(num_kv_heads) + " d " + std::to_string(head_dim) +
           (dtype == at::kBFloat16 ? " bf16" : " f32");
  }
};

inline at::Tensor random_tensor(std::vector<std::int64_t> sizes, std::mt19937& random, double sigma = 1) {
  std::normal_distribution<float> normal(0, static_cast<float>(sigma));
  const at::Tensor tensor = at::empty(sizes, at::TensorOptions().dtype(at::kFloat));
  float* values = tensor.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < tensor.numel(); ++i) values[i] = normal(random);
  return tensor;
}

/// q and k share a few directions, so that some keys stand out for many queries, as in trained models.
inline LayerQuery make_query(const Shape& shape, unsigned seed, std::int64_t width = 24) {
  std::mt19937 random(seed);
  LayerQuery query;
  query.layer = 3;
  query.scale = 1.0 / std::sqrt(static_cast<double>(shape.head_dim));
  query.rope_base = 10000;
  query.x = random_tensor({shape.length, width}, random).to(shape.dtype);
  query.q = random_tensor({shape.num_q_heads, shape.length, shape.head_dim}, random, 1.4);
  query.k = random_tensor({shape.num_kv_heads, shape.length, shape.head_dim}, random, 1.4);
  for (std::int64_t key = 0; key < shape.length; key += 11) query.k.select(1, key).mul_(1.8);
  query.k.select(1, 0).copy_(query.q.mean(0).mean(0).mul(20));
  query.q = query.q.to(shape.dtype);
  query.k = query.k.to(shape.dtype);
  query.v = random_tensor({shape.num_kv_heads, shape.length, shape.head_dim}, random).to(shape.dtype);
  return query;
}

/// Of one head group.
inline reference::Supports supports_of(const std::vector<SupportTile>& tiles, std::int64_t group = 0) {
  reference::Supports supports;
  for (const SupportTile& any : tiles) {
    const SupportTile tile = on_host(any);
    for (std::int64_t row = 0; row < tile.rows(); ++row) {
      const std::int64_t place = group * tile.rows() + row;
      const std::int32_t* keys = tile.indices.const_data_ptr<std::int32_t>() + place * tile.indices.size(2);
      supports.emplace_back(keys, keys + tile.counts.const_data_ptr<std::int32_t>()[place]);
    }
  }
  return supports;
}

struct Attended {
  at::Tensor out;
  std::vector<SupportTile> tiles;
  reference::Supports supports;  ///< of the first head group
};

inline Attended attend(const Policy& policy, const LayerQuery& query, const Backend& backend) {
  Attended result;
  StageClock clock;
  result.out = attention::attend(
      policy, backend, query, clock, [&](const SupportTile& tile) { result.tiles.push_back(tile); }, JobContext{});
  result.supports = supports_of(result.tiles);
  return result;
}
/// Through our CPU kernels.
inline Attended attend(const Policy& policy, const LayerQuery& query) {
  return attend(policy, query, *make_cpu_backend());
}

/// A registered policy; no budget for dense.
inline std::unique_ptr<Policy> policy_of(const std::string& name, const std::string& budget = {},
                                         std::int64_t granularity = 1,
                                         std::map<std::string, double, std::less<>> parameters = {},
                                         std::shared_ptr<const IndexSource> index = {}) {
  PolicySettings settings;
  if (!budget.empty()) settings.budget = parse_budget(budget);
  settings.granularity = granularity;
  settings.parameters = std::move(parameters);
  settings.index = std::move(index);
  return make_policy(name, settings);
}

/// Largest absolute difference of `out` from the fp64 values; infinite where out is not finite.
inline double max_error(const at::Tensor& out, const std::vector<double>& expected) {
  const at::Tensor values = out.to(at::kCPU).to(at::kDouble).contiguous();
  const double* found = values.const_data_ptr<double>();
  double error = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(found[i] - expected[i]);
    error = difference <= error ? error : std::isnan(difference) ? INFINITY : difference;
  }
  return error;
}

/// [L, L] in `dtype`: 0 where a row attends, -inf elsewhere.
inline at::Tensor additive_mask(const reference::Supports& supports, c10::ScalarType dtype) {
  const auto length = static_cast<std::int64_t>(supports.size());
  const at::Tensor mask =
      at::full({length, length}, -std::numeric_limits<double>::infinity(), at::TensorOptions().dtype(at::kFloat));
  float* values = mask.mutable_data_ptr<float>();
  for (std::int64_t row = 0; row < length; ++row)
    for (const std::int64_t key : supports[static_cast<std::size_t>(row)]) values[row * length + key] = 0;
  return mask.to(dtype);
}

/// The textbook computation in the query's own dtype, whole rows at once: what an error is held against. The supports are
/// those of each head group.
inline at::Tensor same_precision(const LayerQuery& query, const std::vector<reference::Supports>& groups) {
  const std::int64_t group = query.num_q_heads() / query.num_kv_heads();
  std::vector<at::Tensor> masks;
  for (const reference::Supports& supports : groups)
    masks.push_back(additive_mask(supports, query.q.scalar_type()).unsqueeze(0));
  const at::Tensor mask = at::cat(masks).repeat_interleave(query.num_q_heads() / std::ssize(groups), 0);
  const at::Tensor k = query.k.repeat_interleave(group, 0), v = query.v.repeat_interleave(group, 0);
  const at::Tensor scores = at::matmul(query.q, k.transpose(1, 2)).mul(query.scale).add(mask);
  // Rows without keys are NaN here and count nowhere; LibTorch's bf16 products with AMX would spread them.
  return at::matmul(at::nan_to_num(at::softmax(scores, -1)), v);
}

inline at::Tensor same_precision(const LayerQuery& query, const reference::Supports& supports) {
  return same_precision(query, std::vector<reference::Supports>{supports});
}

/// LibTorch's fused attention in the query's own dtype.
inline at::Tensor libtorch_kernel(const LayerQuery& query, const reference::Supports& supports) {
  const std::int64_t group = query.num_q_heads() / query.num_kv_heads();
  const at::Tensor k = query.k.repeat_interleave(group, 0), v = query.v.repeat_interleave(group, 0);
  return at::scaled_dot_product_attention(query.q.unsqueeze(0), k.unsqueeze(0), v.unsqueeze(0),
                                          additive_mask(supports, query.q.scalar_type()), 0.0, false, query.scale)[0];
}

}  // namespace headroom::attention::testing
