// SPDX-License-Identifier: Apache-2.0
#include "attention/backends/index_projection.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "attention/backends/element.h"
#include "attention/parallel.h"
#include "base/error.h"

namespace headroom::attention {
namespace {

namespace cpu = kernels::cpu;

const IndexWeights& weights_of(const IndexSource& index, const LayerQuery& query) {
  const std::string where = "indexer";
  const IndexWeights* weights = index.find_layer(query.layer);
  if (!weights)
    throw input_error(where, "the indexer has no weights for a full layer of this model",
                      "layer " + std::to_string(query.layer), index.layers_text());
  if (!query.x.defined() || query.x.dim() != 2 || query.x.size(0) != query.length())
    throw Error(ErrorKind::internal, "the indexer needs the layer's input x, [L, width]");
  if (weights->q_proj.size(1) != query.x.size(1))
    throw input_error(where, "the indexer was made for a model of another width",
                      "width " + std::to_string(query.x.size(1)), "width " + std::to_string(weights->q_proj.size(1)));
  return *weights;
}

/// q and k in x's dtype.
IndexProjections project_cpu(const cpu::IndexProjector& projector, const RotaryTable& table, const at::Tensor& x,
                             const cpu::RunTasks& run_tasks) {
  const at::Tensor rows = x.contiguous();
  const std::int64_t length = x.size(0), half = table.cosine.size(1), width = x.size(1);
  const IndexProjections out{at::empty({length, 2 * half}, x.options()), at::empty({length, 2 * half}, x.options())};
  const auto at_row = [bytes = x.element_size()](const void* data, std::int64_t row, std::int64_t columns) {
    return static_cast<const char*>(data) + static_cast<std::size_t>(row * columns) * bytes;
  };
  const auto out_row = [&](const at::Tensor& tensor, std::int64_t row) {
    return const_cast<char*>(at_row(tensor.mutable_data_ptr(), row, 2 * half));
  };
  constexpr std::int64_t chunk = 64;
  run_tasks((length + chunk - 1) / chunk, [&](std::int64_t i) {
    const std::int64_t begin = i * chunk;
    projector.project({std::min(chunk, length - begin), at_row(rows.const_data_ptr(), begin, width),
                       table.cosine.const_data_ptr<float>() + begin * half,
                       table.sine.const_data_ptr<float>() + begin * half, out_row(out.q, begin),
                       out_row(out.k, begin)});
  });
  return out;
}

/// fp32 weights as one to three bf16 matrices, below one another, whose sum they are: a product with bf16 x is then one
/// of the tensor cores, and exact before the fp32 sums.
at::Tensor bf16_pieces(const at::Tensor& weights) {
  std::vector<at::Tensor> pieces;
  at::Tensor rest = weights;
  for (int piece = 0; piece < 3 && (piece == 0 || rest.any().item<bool>()); ++piece) {
    pieces.push_back(rest.to(at::kBFloat16));
    rest = rest - pieces.back().to(at::kFloat);
  }
  return at::cat(pieces, 0);
}

/// LibTorch operators, any device. fp32, rounded to bf16 where x is.
IndexProjections project_device(const at::Tensor& projections, const at::Tensor& k_norm, const RotaryTable& table,
                                double epsilon, const at::Tensor& x) {
  const std::int64_t dim = k_norm.size(0);
  at::Tensor both;
  if (projections.scalar_type() == at::kBFloat16) {
    const at::Tensor pieces = at::mm(x.contiguous(), projections.t(), at::kFloat);
    both = pieces.narrow(1, 0, 2 * dim);
    for (std::int64_t column = 2 * dim; column < pieces.size(1); column += 2 * dim)
      both = both + pieces.narrow(1, column, 2 * dim);
  } else {
    both = at::matmul(x.to(at::kFloat), projections.t());
  }
  const at::Tensor k = both.narrow(1, dim, dim);
  const at::Tensor normed = k * at::rsqrt(k.square().mean(1, true).add_(epsilon)) * k_norm;
  return {rotate(both.narrow(1, 0, dim), table).to(x.scalar_type()).to(at::kFloat),
          rotate(normed, table).to(x.scalar_type()).to(at::kFloat)};
}

}  // namespace

IndexProjections as_float(const IndexProjections& projections) {
  return {projections.q.to(at::kFloat), projections.k.to(at::kFloat)};
}

at::Tensor index_scores(const IndexProjections& p, std::int64_t begin, std::int64_t end, IndexForm form) {
  const std::int64_t rows = end - begin;
  at::Tensor scores = at::matmul(p.q.narrow(0, begin, rows), p.k.narrow(0, 0, end).t());
  if (form == IndexForm::raw) return scores;
  const at::Tensor unseen = at::ones({rows, rows}, scores.options().dtype(at::kBool)).triu_(1);
  scores.narrow(1, begin, rows).masked_fill_(unseen, -std::numeric_limits<double>::infinity());
  return at::softmax(scores, 1);
}

bool IndexPlacements::Placed::fits(const IndexWeights& weights, const at::Tensor& x) const {
  return source.is_same(weights.q_proj) && k_norm.device() == x.device() && dtype == x.scalar_type();
}

std::pair<IndexPlacements::Placed, RotaryTable> IndexPlacements::prepare(const IndexSource& index,
                                                                         const LayerQuery& query) {
  const IndexWeights& weights = weights_of(index, query);
  const at::Tensor& x = query.x;
  const std::lock_guard lock(mutex_);
  Placed& placed = placed_[query.layer];
  if (!placed.fits(weights, x)) {
    placed = {};
    placed.source = weights.q_proj;
    placed.dtype = x.scalar_type();
    placed.k_norm = weights.k_norm.to(x.device()).to(at::kFloat).contiguous();
    if (x.is_cpu()) {
      const at::Tensor q = weights.q_proj.to(at::kFloat).contiguous(), k = weights.k_proj.to(at::kFloat).contiguous();
      placed.projector =
          cpu::make_index_projector({q.size(1), q.size(0), q.const_data_ptr<float>(), k.const_data_ptr<float>(),
                                     placed.k_norm.const_data_ptr<float>(), static_cast<float>(index.norm_epsilon())},
                                    element_of(x));
    } else {
      placed.projections = at::cat({weights.q_proj, weights.k_proj}, 0).to(x.device()).to(at::kFloat);
      if (x.is_cuda() && x.scalar_type() == at::kBFloat16) placed.projections = bf16_pieces(placed.projections);
    }
  }
  const std::int64_t dim = weights.k_norm.size(0);
  if (table_length_ != query.length() || table_base_ != query.rope_base || table_.cosine.device() != x.device() ||
      2 * table_.cosine.size(1) != dim) {
    table_ = rotary_table(at::arange(query.length(), x.options().dtype(at::kLong)), dim, query.rope_base);
    table_length_ = query.length();
    table_base_ = query.rope_base;
  }
  return {placed, table_};
}

IndexProjections IndexPlacements::project(const IndexSource& index, const LayerQuery& query, const JobContext& job) {
  const auto [placed, table] = prepare(index, query);
  return placed.projector ? project_cpu(*placed.projector, table, query.x, parallel_tasks(job))
                          : project_device(placed.projections, placed.k_norm, table, index.norm_epsilon(), query.x);
}

}  // namespace headroom::attention
