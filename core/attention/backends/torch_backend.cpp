// SPDX-License-Identifier: Apache-2.0
#include "attention/backends/torch_backend.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "attention/backends/index_projection.h"
#include "attention/sinks.h"
#include "base/error.h"

namespace headroom::attention {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();
constexpr std::int64_t torch_least_rows = 128;
constexpr std::int64_t torch_pairs_at_once = std::int64_t{1} << 27;  ///< over all heads: 512 MB of fp32 scores

class TorchMass final : public RowScores {
 public:
  TorchMass(const LayerQuery& query, SupportScope scope)
      : query_(query),
        scope_(scope),
        groups_(num_support_groups(scope, query.num_q_heads(), query.num_kv_heads())) {}
  std::int64_t groups() const override { return groups_; }
  at::Tensor scores(std::int64_t begin, std::int64_t end) const override {
    return mass_of_rows(query_, at::arange(begin, end, query_.q.options().dtype(at::kLong)), end, scope_);
  }

 private:
  const LayerQuery& query_;
  SupportScope scope_;
  std::int64_t groups_;
};

class TorchIndex final : public RowScores {
 public:
  TorchIndex(IndexProjections projections, IndexForm form) : p_(std::move(projections)), form_(form) {
    p_.q = p_.q * (1 / std::sqrt(static_cast<double>(p_.q.size(1))));
  }
  at::Tensor scores(std::int64_t begin, std::int64_t end) const override {
    return index_scores(p_, begin, end, form_).unsqueeze(0);
  }

 private:
  IndexProjections p_;
  IndexForm form_;
};

/// Additive mask of the tile's rows, [G, R, row_end] in `dtype`.
at::Tensor additive_mask(const SupportTile& tile, const at::TensorOptions& options) {
  const at::Tensor mask = at::full({tile.groups, tile.rows(), tile.row_end}, minus_infinity, options);
  if (tile.mask.defined()) return mask.masked_fill_(tile.mask, 0);
  // What stands behind a row's count lands in a column of its own, which is cut off.
  const at::Tensor wide = at::full({tile.groups, tile.rows(), tile.row_end + 1}, minus_infinity, options);
  const at::Tensor place = tile.indices.to(at::kLong);
  wide.scatter_(2, place.masked_fill(place < 0, tile.row_end), 0.0);
  return wide.narrow(2, 0, tile.row_end).contiguous();
}

class TorchLayer final : public PreparedLayer {
 public:
  TorchLayer(const LayerQuery& query, DenseOperator dense, IndexPlacements& placements)
      : PreparedLayer(query), dense_(dense), placements_(placements), group_(query.num_q_heads() / query.num_kv_heads()) {}

  std::unique_ptr<PreparedLayer> prepare(const LayerQuery& query, const JobContext&) const override {
    return std::make_unique<TorchLayer>(query, dense_, placements_);
  }

  at::Tensor make_output() const override { return at::empty(query().q.sizes(), query().q.options()); }

  void dense(std::int64_t rows, const at::Tensor& out, const at::Tensor& lse, const JobContext& job) const override {
    if (query().sinks.defined())
      dense_with_sinks(rows, out, job);
    else if (dense_ == DenseOperator::automatic)
      dense_prefill(query(), rows, out, job);
    else
      forced_dense(rows, out);
    if (lse.defined()) log_sum_exp(rows, lse, job);
  }

  std::shared_ptr<const RowScores> mass(SupportScope scope, std::int64_t, const JobContext&) const override {
    return std::make_shared<TorchMass>(query(), scope);
  }

  std::shared_ptr<const RowScores> index(const IndexSource& index, IndexForm form, std::int64_t,
                                         const JobContext& job) const override {
    return std::make_shared<TorchIndex>(as_float(placements_.project(index, query(), job)), form);
  }

  SupportTile select(const RankedKeys& ranked, std::int64_t begin, std::int64_t end, StageClock& clock,
                     const JobContext&) const override {
    at::Tensor scores;
    {
      const StageScope scope(clock, Stage::score, query().layer);
      scores = ranked.scores->scores(begin, end);
    }
    const StageScope scope(clock, Stage::select, query().layer);
    SupportTile tile;
    tile.row_begin = begin;
    tile.row_end = end;
    tile.groups = ranked.scores->groups();
    tile.shared_rows = ranked.rule.granularity;
    tile.mask = select_mask(scores, begin, ranked.rule, ranked.rule.tokens(query().length()));
    return tile;
  }

  void sparse(const SupportTile& tile, const at::Tensor& out, const JobContext& job) const override {
    const at::Tensor mask = additive_mask(tile, query().q.options());
    const std::int64_t begin = tile.row_begin, rows = tile.rows(), end = tile.row_end;
    const std::int64_t kv_heads = query().num_kv_heads();
    for (std::int64_t kv = 0; kv < kv_heads; ++kv) {
      job.check();
      // One mask for all heads, for those of this KV head, or one for each of them.
      const at::Tensor own = tile.groups == 1          ? mask
                             : tile.groups == kv_heads ? mask.narrow(0, kv, 1)
                                                       : mask.narrow(0, kv * group_, group_);
      const at::Tensor result = attend_masked(kv, begin, rows, end, own);
      // A row without keys gets zeros, as from every backend.
      const at::Tensor empty = own.eq(minus_infinity).all(2, true).expand({group_, rows, 1});
      out.narrow(0, kv * group_, group_).narrow(1, begin, rows).copy_(result.masked_fill(empty, 0));
    }
  }

  std::int64_t tile_rows(std::int64_t granularity) const override {
    return (torch_least_rows + granularity - 1) / granularity * granularity;
  }
  std::int64_t run_rows(std::int64_t begin, std::int64_t tile) const override {
    const std::int64_t columns = std::min(begin + 256, query().length());
    return std::clamp<std::int64_t>(torch_pairs_at_once / query().num_q_heads() / columns / tile, 1, 64) * tile;
  }

 private:
  // Query heads of one KV head over keys 0 … end - 1 with an additive mask [1 or group, rows, end]. A sink is one more
  // key: zero, so that its logit is what the mask holds for it, with a value of zero.
  at::Tensor attend_masked(std::int64_t kv, std::int64_t begin, std::int64_t rows, std::int64_t end,
                           const at::Tensor& mask) const {
    const at::Tensor q = query().q.narrow(0, kv * group_, group_).narrow(1, begin, rows).unsqueeze(0);
    at::Tensor k = query().k.narrow(0, kv, 1).narrow(1, 0, end), v = query().v.narrow(0, kv, 1).narrow(1, 0, end);
    at::Tensor seen = mask;
    std::int64_t keys = end;
    if (query().sinks.defined()) {
      const at::Tensor nothing = at::zeros({1, 1, k.size(2)}, k.options());
      k = at::cat({k, nothing}, 1);
      v = at::cat({v, nothing}, 1);
      const at::Tensor sinks = query().sinks.narrow(0, kv * group_, group_).to(mask.scalar_type());
      seen = at::cat({mask.expand({group_, rows, end}), sinks.view({group_, 1, 1}).expand({group_, rows, 1})}, 2);
      ++keys;
    }
    return at::scaled_dot_product_attention(q, k.expand({group_, keys, -1}).unsqueeze(0),
                                            v.expand({group_, keys, -1}).unsqueeze(0), seen.unsqueeze(0), 0.0, false,
                                            query().scale)[0];
  }

  void dense_with_sinks(std::int64_t rows, const at::Tensor& out, const JobContext& job) const {
    for (std::int64_t begin = 0; begin < rows;) {
      const std::int64_t count = std::min(run_rows(begin, torch_least_rows), rows - begin), end = begin + count;
      const at::Tensor mask = at::full({1, count, end}, minus_infinity, query().q.options()).triu_(begin + 1);
      for (std::int64_t kv = 0; kv < query().num_kv_heads(); ++kv) {
        job.check();
        out.narrow(0, kv * group_, group_).narrow(1, begin, count).copy_(attend_masked(kv, begin, count, end, mask));
      }
      begin = end;
    }
  }

  void forced_dense(std::int64_t rows, const at::Tensor& out) const {
    const at::Tensor q = query().q.narrow(1, 0, rows).unsqueeze(0);
    const at::Tensor k = query().k.narrow(1, 0, rows).unsqueeze(0), v = query().v.narrow(1, 0, rows).unsqueeze(0);
    // Both take fewer KV heads than query heads as they are.
    const at::Tensor result =
        dense_ == DenseOperator::flash_attention
            ? std::get<0>(at::_scaled_dot_product_flash_attention(q, k, v, 0.0, true, false, query().scale))
            : std::get<0>(
                  at::_scaled_dot_product_cudnn_attention(q, k, v, {}, false, 0.0, true, false, query().scale));
    out.narrow(1, 0, rows).copy_(result.squeeze(0));
  }

  void log_sum_exp(std::int64_t rows, const at::Tensor& lse, const JobContext& job) const {
    for (std::int64_t begin = 0; begin < rows; begin += torch_least_rows) {
      job.check();
      const std::int64_t count = std::min(torch_least_rows, rows - begin), end = begin + count;
      const at::Tensor unseen = at::ones({count, count}, query().q.options().dtype(at::kBool)).triu_(1);
      for (std::int64_t head = 0; head < query().num_q_heads(); ++head) {
        const at::Tensor q = query().q[head].narrow(0, begin, count).to(at::kFloat);
        const at::Tensor k = query().k[head / group_].narrow(0, 0, end).to(at::kFloat);
        const at::Tensor scores = at::matmul(q, k.t()).mul_(query().scale);
        scores.narrow(1, begin, count).masked_fill_(unseen, minus_infinity);
        lse[head].narrow(0, begin, count).copy_(at::logsumexp(scores, 1));
      }
    }
    if (query().sinks.defined()) join_sinks(query().sinks, 0, rows, lse, {});
  }

  DenseOperator dense_;
  IndexPlacements& placements_;
  std::int64_t group_;
};

class TorchBackend final : public Backend {
 public:
  TorchBackend(DenseOperator dense, std::string why) : dense_(dense), why_(std::move(why)) {}
  std::string id() const override {
    return dense_ == DenseOperator::flash_attention ? "fa2" : dense_ == DenseOperator::cudnn ? "cudnn" : "libtorch";
  }
  std::string dense_label() const override {
    return dense_ == DenseOperator::flash_attention ? "FlashAttention-2 in LibTorch"
           : dense_ == DenseOperator::cudnn         ? "cuDNN attention in LibTorch"
                                                    : "LibTorch SDPA";
  }
  std::string sparse_label() const override { return "LibTorch SDPA with a mask, row tiles"; }
  bool is_library() const override { return true; }
  bool selects_its_own() const override { return dense_ == DenseOperator::automatic; }
  std::string note() const override {
    return "reference path, not optimised" + (why_.empty() ? std::string() : " (" + why_ + ")");
  }
  std::unique_ptr<PreparedLayer> prepare(const LayerQuery& query, const JobContext&) const override {
    check_query(query);
    return std::make_unique<TorchLayer>(query, dense_, placements_);
  }

 private:
  DenseOperator dense_;
  std::string why_;
  mutable IndexPlacements placements_;
};

}  // namespace

std::shared_ptr<const Backend> make_torch_backend(DenseOperator dense, std::string why) {
  return std::make_shared<TorchBackend>(dense, std::move(why));
}

at::Tensor mass_of_rows(const LayerQuery& query, const at::Tensor& rows, std::int64_t columns, SupportScope scope) {
  const std::int64_t heads = query.num_q_heads(), heads_per_kv = heads / query.num_kv_heads();
  const std::int64_t groups = num_support_groups(scope, heads, query.num_kv_heads());
  const at::Tensor future = at::arange(columns, rows.options()).unsqueeze(0).gt(rows.unsqueeze(1));
  const at::Tensor mass =
      at::zeros({groups, rows.size(0), columns}, query.q.options().dtype(at::kFloat));
  for (std::int64_t kv = 0; kv < query.num_kv_heads(); ++kv) {
    const at::Tensor q = query.q.narrow(0, kv * heads_per_kv, heads_per_kv).index_select(1, rows).to(at::kFloat);
    const at::Tensor k = query.k[kv].narrow(0, 0, columns).to(at::kFloat);
    at::Tensor logits = at::matmul(q, k.t()).mul_(query.scale).masked_fill_(future, minus_infinity);
    if (query.sinks.defined()) {
      const at::Tensor own = query.sinks.narrow(0, kv * heads_per_kv, heads_per_kv);
      logits = at::cat({logits, own.view({heads_per_kv, 1, 1}).expand({heads_per_kv, rows.size(0), 1})}, 2);
    }
    const at::Tensor p = at::softmax(logits, 2).narrow(2, 0, columns);
    if (scope == SupportScope::q_head)
      mass.narrow(0, kv * heads_per_kv, heads_per_kv).copy_(p);
    else
      mass[scope == SupportScope::kv_head ? kv : 0].add_(p.sum(0));
  }
  return mass.div_(static_cast<double>(heads) / static_cast<double>(groups));
}

}  // namespace headroom::attention
