// SPDX-License-Identifier: Apache-2.0
#include "attention/backends/cpu_backend.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <optional>

#include "attention/backends/element.h"
#include "attention/backends/index_projection.h"
#include "attention/head_rows.h"
#include "attention/parallel.h"
#include "attention/sinks.h"
#include "base/error.h"

namespace headroom::attention {
namespace {

namespace cpu = kernels::cpu;

constexpr std::int64_t cpu_least_rows = 32;
constexpr std::int64_t cpu_pairs_at_once = std::int64_t{1} << 23;  ///< between two polls

/// Mass of each KV head or query head: rows of probabilities, added up.
class GroupMass final : public RowScores {
 public:
  GroupMass(const LayerQuery& query, SupportScope scope)
      : rows_(query), scope_(scope), num_kv_heads_(query.num_kv_heads()) {}
  std::int64_t groups() const override { return num_support_groups(scope_, rows_.num_q_heads(), num_kv_heads_); }
  at::Tensor scores(std::int64_t begin, std::int64_t end) const override {
    const std::int64_t rows = end - begin, stride = HeadRows::stride(end), heads = rows_.num_q_heads();
    const at::Tensor mass = at::zeros({groups(), rows, end}, at::kFloat);
    auto* to = mass.mutable_data_ptr<float>();
    thread_local std::vector<float> p;
    p.resize(static_cast<std::size_t>(rows * stride));
    const float share = static_cast<float>(groups()) / static_cast<float>(heads);
    for (std::int64_t head = 0; head < heads; ++head) {
      rows_.probabilities(head, begin, end, p.data(), stride, nullptr);
      float* out = to + support_group(scope_, head, heads, num_kv_heads_) * rows * end;
      for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t key = 0; key <= begin + row; ++key) out[row * end + key] += share * p[static_cast<std::size_t>(row * stride + key)];
    }
    return mass;
  }

 private:
  HeadRows rows_;
  SupportScope scope_;
  std::int64_t num_kv_heads_;
};

/// softmax(I), tile by tile.
class IndexProbabilities final : public RowScores {
 public:
  explicit IndexProbabilities(IndexProjections projections) : p_(std::move(projections)) {
    p_.q = p_.q * (1 / std::sqrt(static_cast<double>(p_.q.size(1))));
  }
  at::Tensor scores(std::int64_t begin, std::int64_t end) const override {
    return index_scores(p_, begin, end, IndexForm::probabilities).unsqueeze(0);
  }

 private:
  IndexProjections p_;  ///< fp32, q scaled
};

class CpuLayer final : public PreparedLayer {
 public:
  CpuLayer(const LayerQuery& query, IndexPlacements& placements, const JobContext& job)
      : PreparedLayer(query),
        placements_(placements),
        q_(query.q.contiguous()),
        k_(query.k.contiguous()),
        v_(query.v.contiguous()) {
    cpu::LayerInput input;
    input.element = element_of(q_);
    input.num_q_heads = query.num_q_heads();
    input.num_kv_heads = query.num_kv_heads();
    input.length = query.length();
    input.head_dim = query.head_dim();
    input.scale = static_cast<float>(query.scale);
    input.q = q_.const_data_ptr();
    input.k = k_.const_data_ptr();
    input.v = v_.const_data_ptr();
    layer_ = cpu::make_attention_layer(input, parallel_tasks(job));
  }

  std::unique_ptr<PreparedLayer> prepare(const LayerQuery& query, const JobContext& job) const override {
    return std::make_unique<CpuLayer>(query, placements_, job);
  }

  /// [L, Hq, d] behind, so that a row's heads lie side by side for the projection that follows.
  at::Tensor make_output() const override {
    return at::empty({q_.size(1), q_.size(0), q_.size(2)}, q_.options()).transpose(0, 1);
  }

  void dense(std::int64_t rows, const at::Tensor& out, const at::Tensor& lse, const JobContext& job) const override {
    if (!query().sinks.defined()) return layer_->dense(rows, output(out, lse), parallel_tasks(job));
    const at::Tensor joint = lse.defined() ? lse : own_lse();
    layer_->dense(rows, output(out, joint), parallel_tasks(job));
    join_sinks(query().sinks, 0, rows, joint, out);
  }

  /// For the whole layer in two passes: log-sum-exp of every head, then mass and selection tile by tile.
  std::shared_ptr<const RowScores> mass(SupportScope scope, std::int64_t first_row,
                                        const JobContext& job) const override {
    if (scope != SupportScope::layer) return std::make_shared<GroupMass>(query(), scope);
    const std::int64_t length = query().length();
    const at::Tensor lse = at::empty({query().num_q_heads(), length}, at::kFloat);
    layer_->log_sum_exp(first_row, length, lse.mutable_data_ptr<float>(), parallel_tasks(job));
    if (query().sinks.defined()) join_sinks(query().sinks, first_row, length - first_row, lse, {});
    return make_mass_scores(query(), *layer_, lse);
  }

  std::shared_ptr<const RowScores> index(const IndexSource& index, IndexForm form, std::int64_t /*first_row*/,
                                         const JobContext& job) const override {
    const IndexProjections projections = placements_.project(index, query(), job);
    if (form == IndexForm::probabilities) return std::make_shared<IndexProbabilities>(as_float(projections));
    return make_raw_index_scores(projections, job);
  }

  SupportTile select(const RankedKeys& ranked, std::int64_t begin, std::int64_t end, StageClock& clock,
                     const JobContext& job) const override {
    if (const auto* fused = dynamic_cast<const FusedScores*>(ranked.scores.get()))
      return select_fused(*fused, ranked.rule, begin, end, clock, job);
    const std::int64_t tile = tile_rows(ranked.rule.granularity);
    std::vector<at::Tensor> scores(static_cast<std::size_t>((end - begin + tile - 1) / tile));
    {
      const StageScope scope(clock, Stage::score, query().layer);
      // Each tile is one thread's work: LibTorch runs its operators on one thread inside.
      parallel_tasks(job)(std::ssize(scores), [&](std::int64_t i) {
        scores[static_cast<std::size_t>(i)] =
            ranked.scores->scores(begin + i * tile, std::min(begin + (i + 1) * tile, end)).contiguous();
      });
    }
    const StageScope scope(clock, Stage::select, query().layer);
    return select_rows(scores, begin, end, tile, ranked.rule, ranked.rule.tokens(query().length()), job);
  }

  void sparse(const SupportTile& any, const at::Tensor& out, const JobContext& job) const override {
    const SupportTile tile = with_indices(any);
    const std::int64_t width = tile.indices.size(2), rows = tile.rows(), heads = query().num_q_heads() / tile.groups;
    const auto* indices = tile.indices.const_data_ptr<std::int32_t>();
    const auto* counts = tile.counts.const_data_ptr<std::int32_t>();
    std::vector<cpu::SupportRows> groups;
    for (std::int64_t group = 0; group < tile.groups; ++group)
      groups.push_back({.row_begin = tile.row_begin,
                        .rows = rows,
                        .indices = indices + group * rows * width,
                        .width = width,
                        .counts = counts + group * rows,
                        .first_head = group * heads,
                        .num_heads = heads});
    // Blocks that share their keys form unions hardly larger than one support.
    constexpr std::int64_t union_pays = 8;
    const auto kernel = tile.shared_rows >= union_pays ? cpu::SparseKernel::union_tile : cpu::SparseKernel::gather;
    if (!query().sinks.defined()) return layer_->sparse(groups, kernel, output(out, {}), parallel_tasks(job));
    const at::Tensor lse = own_lse();
    layer_->sparse(groups, kernel, output(out, lse), parallel_tasks(job));
    join_sinks(query().sinks, tile.row_begin, rows, lse, out);
  }

  std::int64_t tile_rows(std::int64_t granularity) const override {
    return (cpu_least_rows + granularity - 1) / granularity * granularity;
  }
  std::int64_t run_rows(std::int64_t begin, std::int64_t tile) const override {
    const std::int64_t columns = std::min(begin + 256, query().length());
    return std::clamp<std::int64_t>(cpu_pairs_at_once / columns / tile, 4, 64) * tile;
  }

 private:
  at::Tensor own_lse() const { return at::empty({query().num_q_heads(), query().length()}, at::kFloat); }
  cpu::LayerOutput output(const at::Tensor& out, const at::Tensor& lse) const {
    cpu::LayerOutput result;
    result.out = out.mutable_data_ptr();
    result.head_stride = out.stride(0);
    result.row_stride = out.stride(1);
    if (lse.defined()) result.lse = lse.mutable_data_ptr<float>();
    return result;
  }

  SupportTile select_fused(const FusedScores& scores, const SelectionRule& rule, std::int64_t begin, std::int64_t end,
                           StageClock& clock, const JobContext& job) const {
    const bool by_mass = rule.budget.kind == BudgetKind::mass;
    const std::int64_t rows = end - begin, tile = tile_rows(rule.granularity);
    const std::int64_t width = by_mass ? end : std::min(rule.tokens(query().length()), end);
    SupportTile support;
    support.row_begin = begin;
    support.row_end = end;
    support.shared_rows = rule.granularity;
    support.indices = at::empty({1, rows, width}, at::kInt);
    support.counts = at::empty({1, rows}, at::kInt);
    auto* indices = support.indices.mutable_data_ptr<std::int32_t>();
    auto* counts = support.counts.mutable_data_ptr<std::int32_t>();
    const StageScope scope(clock, Stage::score, query().layer);
    std::atomic<std::int64_t> score_ns = 0, select_ns = 0;
    parallel_tasks(job)((rows + tile - 1) / tile, [&](std::int64_t i) {
      const std::int64_t from = i * tile, to = std::min(from + tile, rows);
      const SelectorTime spent =
          scores.select(rule, begin + from, begin + to, indices + from * width, width, counts + from);
      for (std::int64_t row = from; row < to; ++row)
        std::fill(indices + row * width + counts[row], indices + (row + 1) * width, -1);
      score_ns += spent.score_ns;
      select_ns += spent.select_ns;
    });
    const auto select = static_cast<double>(select_ns.load());
    clock.split(Stage::select, select / std::max(1.0, select + static_cast<double>(score_ns.load())));
    if (by_mass) {
      const auto widest = static_cast<std::int64_t>(*std::max_element(counts, counts + rows));
      support.indices = support.indices.narrow(2, 0, widest).contiguous();
    }
    return support;
  }

  IndexPlacements& placements_;
  at::Tensor q_, k_, v_;
  std::unique_ptr<cpu::AttentionLayer> layer_;
};

class CpuBackend final : public Backend {
 public:
  /// `dtype`: of the tensors that it will be given, which decides what its label says; fp32 has no bf16 products.
  explicit CpuBackend(c10::ScalarType dtype)
      : isa_(dtype == c10::ScalarType::BFloat16 ? cpu::preferred_isa() : cpu::best_isa(cpu::Isa::avx512)) {}
  std::string id() const override { return "headroom"; }
  std::string dense_label() const override {
    return "Headroom CPU kernels, " + std::string(cpu::name(isa_));
  }
  std::string sparse_label() const override { return dense_label(); }
  std::unique_ptr<PreparedLayer> prepare(const LayerQuery& query, const JobContext& job) const override {
    check_query(query);
    if (!query.q.is_cpu()) throw Error(ErrorKind::internal, "the CPU kernels take tensors on the CPU alone");
    return std::make_unique<CpuLayer>(query, placements_, job);
  }

 private:
  const cpu::Isa isa_;
  mutable IndexPlacements placements_;
};

}  // namespace

std::shared_ptr<const Backend> make_cpu_backend(c10::ScalarType dtype) {
  return std::make_shared<CpuBackend>(dtype);
}

}  // namespace headroom::attention
