// SPDX-License-Identifier: Apache-2.0
#include "attention/sparse_prefill.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "attention/select.h"

namespace headroom::attention {
namespace {

constexpr double minus_infinity = -std::numeric_limits<double>::infinity();

/// Attends rows [begin, end) with an additive mask [end - begin, end] in the query's dtype.
void attend_masked(const LayerQuery& query, std::int64_t begin, std::int64_t end, const at::Tensor& mask,
                   const at::Tensor& out) {
  const std::int64_t group = query.num_q_heads() / query.num_kv_heads();
  for (std::int64_t kv = 0; kv < query.num_kv_heads(); ++kv) {
    const at::Tensor q = query.q.narrow(0, kv * group, group).narrow(1, begin, end - begin).unsqueeze(0);
    const at::Tensor k = query.k.narrow(0, kv, 1).narrow(1, 0, end).expand({group, end, -1}).unsqueeze(0);
    const at::Tensor v = query.v.narrow(0, kv, 1).narrow(1, 0, end).expand({group, end, -1}).unsqueeze(0);
    const at::Tensor result = at::scaled_dot_product_attention(q, k, v, mask, 0.0, false, query.scale);
    out.narrow(0, kv * group, group).narrow(1, begin, end - begin).copy_(result[0]);
  }
}

/// Additive mask of rows [begin, end) from a CPU support tile.
at::Tensor additive_mask(const SupportTile& tile, std::int64_t begin, std::int64_t end, c10::ScalarType dtype) {
  const at::Tensor mask = at::full({end - begin, end}, minus_infinity, at::TensorOptions().dtype(dtype));
  const std::int64_t width = tile.indices.size(1);
  const auto* indices = tile.indices.const_data_ptr<std::int32_t>() + (begin - tile.row_begin) * width;
  const auto* counts = tile.counts.const_data_ptr<std::int32_t>() + (begin - tile.row_begin);
  const auto fill = [&](auto* values) {
    for (std::int64_t row = 0; row < end - begin; ++row)
      for (std::int32_t i = 0; i < counts[row]; ++i) values[row * end + indices[row * width + i]] = 0;
  };
  if (dtype == at::kBFloat16)
    fill(mask.mutable_data_ptr<c10::BFloat16>());
  else
    fill(mask.mutable_data_ptr<float>());
  return mask;
}

/// Rows of one unit of work, a multiple of the block, so that results do not depend on threads.
std::int64_t tile_rows(const LayerQuery& query, const SelectionRule& rule) {
  return std::max<std::int64_t>(query.q.is_cpu() ? 32 : 128, rule.granularity);
}

class SparsePrefill {
 public:
  /// One of scorer and selector is null. `layer` may be null.
  SparsePrefill(const LayerQuery& query, const SelectionRule& rule, const RowScorer* scorer,
                const RowSelector* selector, const CpuLayer* layer, StageClock& clock, const SupportSink& sink,
                const JobContext& job)
      : query_(query),
        rule_(rule),
        scorer_(scorer),
        selector_(selector),
        layer_(layer),
        clock_(clock),
        sink_(sink),
        job_(job),
        run_tasks_(parallel_tasks(job)) {}

  at::Tensor run() {
    const std::int64_t length = query_.length();
    budget_tokens_ =
        rule_.budget.kind == BudgetKind::mass ? 0 : std::min(rule_.budget.tokens_for(length), length);
    if (!layer_ && has_cpu_kernels(query_)) {
      const StageScope scope(clock_, Stage::attention, query_.layer);
      layer_ = &own_layer_.emplace(query_, job_);
    }
    out_ = layer_ ? layer_->make_output() : at::empty(query_.q.sizes(), query_.q.options());
    const std::int64_t tile = tile_rows(query_, rule_), dense_rows = rows_within_budget(query_, rule_);
    if (dense_rows > 0) attend_dense(dense_rows);
    for (std::int64_t begin = dense_rows; begin < length;) {
      job_.check();
      const std::int64_t end = std::min(begin + run_rows(begin, tile), length);
      const RowRange rows{begin, end, budget_tokens_};
      const SupportTile support = query_.q.is_cpu() ? run_cpu(rows, tile) : run_device(rows);
      if (sink_) sink_(support);
      begin = end;
    }
    return out_;
  }

 private:
  /// Rows between two polls: about 8 M pairs on the CPU, 512 MB of scores on a device.
  std::int64_t run_rows(std::int64_t begin, std::int64_t tile) const {
    const std::int64_t columns = std::min(begin + 256, query_.length());
    const std::int64_t pairs =
        query_.q.is_cpu() ? std::int64_t{1} << 23 : (std::int64_t{1} << 27) / query_.num_q_heads();
    return std::clamp<std::int64_t>(pairs / columns / tile, query_.q.is_cpu() ? 4 : 1, 64) * tile;
  }

  void attend_dense(std::int64_t rows) {
    {
      const StageScope scope(clock_, Stage::attention, query_.layer);
      if (layer_)
        layer_->kernels().dense(rows, layer_->output(out_, {}), run_tasks_);
      else
        dense_prefill(query_, rows, out_, job_);
    }
    for (std::int64_t begin = 0; sink_ && begin < rows; begin += 256)
      sink_(whole_history({begin, std::min(begin + 256, rows), budget_tokens_}, query_.q.device()));
  }

  SupportTile run_cpu(const RowRange& rows, std::int64_t tile) {
    const SupportTile support = selector_ ? select_fused(rows, tile) : score_and_select(rows, tile);
    const StageScope scope(clock_, Stage::attention, query_.layer);
    if (layer_) {
      const kernels::cpu::SupportRows selected{rows.begin, rows.size(), support.indices.const_data_ptr<std::int32_t>(),
                                               support.indices.size(1), support.counts.const_data_ptr<std::int32_t>()};
      // Blocks that share their keys form unions hardly larger than one support.
      const auto kernel = rule_.granularity >= 8 ? kernels::cpu::SparseKernel::union_tile
                                                 : kernels::cpu::SparseKernel::gather;
      layer_->kernels().sparse(selected, kernel, layer_->output(out_, {}), run_tasks_);
      return support;
    }
    run_tasks_(num_tiles(rows, tile), [&](std::int64_t i) {
      const auto [begin, end] = tile_of(rows, tile, i);
      attend_masked(query_, begin, end, additive_mask(support, begin, end, query_.q.scalar_type()), out_);
    });
    return support;
  }

  static std::int64_t num_tiles(const RowRange& rows, std::int64_t tile) { return (rows.size() + tile - 1) / tile; }
  static std::pair<std::int64_t, std::int64_t> tile_of(const RowRange& rows, std::int64_t tile, std::int64_t i) {
    return {rows.begin + i * tile, std::min(rows.begin + (i + 1) * tile, rows.end)};
  }

  SupportTile score_and_select(const RowRange& rows, std::int64_t tile) {
    // Each tile is one thread's work from one end to the other: LibTorch runs its operators on one thread inside.
    std::vector<at::Tensor> scores(static_cast<std::size_t>(num_tiles(rows, tile)));
    {
      const StageScope scope(clock_, Stage::score, query_.layer);
      run_tasks_(num_tiles(rows, tile), [&](std::int64_t i) {
        const auto [begin, end] = tile_of(rows, tile, i);
        scores[static_cast<std::size_t>(i)] = (*scorer_)(begin, end);
      });
    }
    const StageScope scope(clock_, Stage::select, query_.layer);
    return select_cpu(scores, tile, rows, rule_);
  }

  SupportTile select_fused(const RowRange& rows, std::int64_t tile) {
    const bool by_mass = rule_.budget.kind == BudgetKind::mass;
    const std::int64_t width = by_mass ? rows.end : std::min(rows.budget_tokens, rows.end);
    SupportTile support{rows.begin, at::empty({rows.size(), width}, at::kInt), at::empty({rows.size()}, at::kInt)};
    auto* indices = support.indices.mutable_data_ptr<std::int32_t>();
    auto* counts = support.counts.mutable_data_ptr<std::int32_t>();
    const StageScope scope(clock_, Stage::score, query_.layer);
    std::atomic<std::int64_t> score_ns = 0, select_ns = 0;
    run_tasks_(num_tiles(rows, tile), [&](std::int64_t i) {
      const auto [begin, end] = tile_of(rows, tile, i);
      std::int32_t* tile_indices = indices + (begin - rows.begin) * width;
      std::int32_t* tile_counts = counts + (begin - rows.begin);
      const SelectorTime spent = (*selector_)(begin, end, tile_indices, width, tile_counts);
      for (std::int64_t row = 0; row < end - begin; ++row)
        std::fill(tile_indices + row * width + tile_counts[row], tile_indices + (row + 1) * width, -1);
      score_ns += spent.score_ns;
      select_ns += spent.select_ns;
    });
    const auto select = static_cast<double>(select_ns.load());
    clock_.split(Stage::select, select / std::max(1.0, select + static_cast<double>(score_ns.load())));
    if (by_mass) {
      const auto widest = static_cast<std::int64_t>(*std::max_element(counts, counts + rows.size()));
      support.indices = support.indices.narrow(1, 0, widest).contiguous();
    }
    return support;
  }

  SupportTile run_device(const RowRange& rows) {
    at::Tensor scores;
    {
      const StageScope scope(clock_, Stage::score, query_.layer);
      scores = (*scorer_)(rows.begin, rows.end);
    }
    at::Tensor mask;
    {
      const StageScope scope(clock_, Stage::select, query_.layer);
      mask = select_mask(scores, rows, rule_);
    }
    {
      const StageScope scope(clock_, Stage::attention, query_.layer);
      const at::Tensor additive =
          at::zeros(mask.sizes(), query_.q.options()).masked_fill_(mask.logical_not(), minus_infinity);
      attend_masked(query_, rows.begin, rows.end, additive, out_);
    }
    return sink_ ? tile_from_mask(mask, rows.begin) : SupportTile{};
  }

  const LayerQuery& query_;
  const SelectionRule& rule_;
  const RowScorer* scorer_;
  const RowSelector* selector_;
  const CpuLayer* layer_;  ///< null: LibTorch attends
  std::optional<CpuLayer> own_layer_;
  StageClock& clock_;
  const SupportSink& sink_;
  const JobContext& job_;
  kernels::cpu::RunTasks run_tasks_;
  std::int64_t budget_tokens_ = 0;
  at::Tensor out_;
};

}  // namespace

at::Tensor sparse_prefill(const LayerQuery& query, const SelectionRule& rule, const RowScorer& scorer,
                          StageClock& clock, const SupportSink& sink, const JobContext& job) {
  check_query(query);
  const c10::InferenceMode guard;
  return SparsePrefill(query, rule, &scorer, nullptr, nullptr, clock, sink, job).run();
}

at::Tensor sparse_prefill(const LayerQuery& query, const SelectionRule& rule, const RowSelector& selector,
                          StageClock& clock, const SupportSink& sink, const JobContext& job, const CpuLayer* layer) {
  check_query(query);
  if (!query.q.is_cpu()) throw Error(ErrorKind::internal, "supports are selected by their policy on the CPU alone");
  const c10::InferenceMode guard;
  return SparsePrefill(query, rule, nullptr, &selector, layer, clock, sink, job).run();
}

std::int64_t rows_within_budget(const LayerQuery& query, const SelectionRule& rule) {
  if (rule.budget.kind == BudgetKind::mass) return 0;
  const std::int64_t length = query.length(), tokens = rule.budget.tokens_for(length);
  const std::int64_t tile = tile_rows(query, rule);
  return tokens >= length ? length : tokens / tile * tile;
}

void check_query(const LayerQuery& query) {
  const auto fail = [&](const char* what) {
    throw Error(ErrorKind::internal, std::string("attention input of layer ") + std::to_string(query.layer) +
                                         " does not fit together: " + what);
  };
  for (const at::Tensor* tensor : {&query.q, &query.k, &query.v}) {
    if (!tensor->defined() || tensor->dim() != 3 || tensor->numel() == 0) fail("q, k, v must be [heads, L, d]");
    if (tensor->scalar_type() != query.q.scalar_type() || tensor->device() != query.q.device())
      fail("dtype or device of q, k, v differ");
  }
  if (query.q.scalar_type() != at::kBFloat16 && query.q.scalar_type() != at::kFloat) fail("dtype is not bf16 or fp32");
  if (query.k.sizes() != query.v.sizes() || query.k.size(1) != query.length() || query.k.size(2) != query.head_dim() ||
      query.num_q_heads() % query.num_kv_heads() != 0)
    fail("shapes of q, k, v differ");
}

}  // namespace headroom::attention
