// SPDX-License-Identifier: Apache-2.0
#include "experiment/verify/indexer_reference.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/softmax.h>

#include <cmath>

namespace headroom::experiment {
namespace {

using attention::LayerQuery;

/// By halves over all d_I dimensions, in `in`'s dtype.
at::Tensor rotated(const at::Tensor& in, double base) {
  const std::int64_t half = in.size(1) / 2;
  const auto options = in.options();
  const at::Tensor powers = at::arange(half, options).mul(-1.0 / static_cast<double>(half));
  const at::Tensor angles = at::arange(in.size(0), options).unsqueeze(1) * at::pow(base, powers).unsqueeze(0);
  const at::Tensor a = in.narrow(1, 0, half), b = in.narrow(1, half, half);
  return at::cat({a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()}, 1);
}

/// Products, norm and rotation in `arithmetic`; x, weights, q and k in `stored`.
RowScores scores_in(const LayerQuery& query, const indexer::LayerWeights& weights, const indexer::Metadata& metadata,
                    c10::ScalarType stored, c10::ScalarType arithmetic) {
  const auto options = query.x.options();
  const at::Tensor x = query.x.to(stored);
  const auto project = [&](const at::Tensor& matrix) {
    return at::matmul(x, matrix.to(options.dtype(stored)).t()).to(arithmetic);
  };
  const at::Tensor k = project(weights.k_proj);
  const at::Tensor normed =
      k * at::rsqrt(k.square().mean(1, true).add(metadata.norm_epsilon)) * weights.k_norm.to(options.dtype(arithmetic));
  const auto rounded = [&](const at::Tensor& in) { return rotated(in, query.rope_base).to(stored).to(arithmetic); };
  const at::Tensor scores = at::matmul(rounded(project(weights.q_proj)), rounded(normed).t())
                                .div(std::sqrt(static_cast<double>(metadata.index_dim)))
                                .to(at::kCPU)
                                .to(at::kDouble);
  RowScores rows;
  for (std::int64_t t = 0; t < query.x.size(0); ++t) {
    const at::Tensor row = at::softmax(scores[t].narrow(0, 0, t + 1), 0).contiguous();
    rows.emplace_back(row.const_data_ptr<double>(), row.const_data_ptr<double>() + t + 1);
  }
  return rows;
}

}  // namespace

RowScores indexer_scores(const LayerQuery& query, const indexer::LayerWeights& weights,
                         const indexer::Metadata& metadata) {
  return scores_in(query, weights, metadata, at::kDouble, at::kDouble);
}

RowScores textbook_indexer_scores(const LayerQuery& query, const indexer::LayerWeights& weights,
                                  const indexer::Metadata& metadata) {
  return scores_in(query, weights, metadata, query.x.scalar_type(), at::kFloat);
}

}  // namespace headroom::experiment
