// SPDX-License-Identifier: Apache-2.0
#include "attention/select.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/nan_to_num.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <limits>

#include "kernels/cpu/top_k.h"

namespace headroom::attention {

void share_block_scores(float* scores, std::int64_t row_begin, std::int64_t rows, std::int64_t columns,
                        std::int64_t granularity) {
  std::vector<double> sums(static_cast<std::size_t>(columns));
  for (std::int64_t begin = 0; begin < rows; begin += granularity) {
    const std::int64_t end = std::min(begin + granularity, rows);
    std::fill(sums.begin(), sums.end(), 0.0);
    for (std::int64_t row = begin; row < end; ++row) {
      const float* values = scores + row * columns;
      for (std::int64_t key = 0; key <= row_begin + row; ++key) sums[static_cast<std::size_t>(key)] += values[key];
    }
    for (std::int64_t row = begin; row < end; ++row) {
      float* values = scores + row * columns;
      for (std::int64_t key = 0; key <= row_begin + row; ++key)
        values[key] = static_cast<float>(sums[static_cast<std::size_t>(key)]);
    }
  }
}

bool needs_additive_scores(const SelectionRule& rule) {
  return rule.granularity > 1 || rule.budget.kind == BudgetKind::mass;
}

SupportTile select_cpu(std::vector<at::Tensor>& scores, std::int64_t tile_rows, const RowRange& rows,
                       const SelectionRule& rule) {
  const bool by_mass = rule.budget.kind == BudgetKind::mass;
  const std::int64_t width = by_mass ? rows.end : std::min(rows.budget_tokens, rows.end);
  SupportTile result{rows.begin, at::empty({rows.size(), width}, at::kInt), at::empty({rows.size()}, at::kInt)};
  auto* indices = result.indices.mutable_data_ptr<std::int32_t>();
  auto* counts = result.counts.mutable_data_ptr<std::int32_t>();
  const kernels::cpu::ForcedRange forced{rule.forced.sinks, rule.forced.local};
  const auto num_tiles = static_cast<std::int64_t>(scores.size());
  std::vector<float*> data;
  for (at::Tensor& tile : scores) data.push_back(tile.mutable_data_ptr<float>());

  if (rule.granularity > 1) {
    at::parallel_for(0, num_tiles, 1, [&](std::int64_t from, std::int64_t to) {
      for (std::int64_t i = from; i < to; ++i) {
        const at::Tensor& tile = scores[static_cast<std::size_t>(i)];
        share_block_scores(data[static_cast<std::size_t>(i)], rows.begin + i * tile_rows, tile.size(0), tile.size(1),
                           rule.granularity);
      }
    });
  }
  at::parallel_for(0, rows.size(), 16, [&](std::int64_t from, std::int64_t to) {
    kernels::cpu::SelectScratch scratch;
    for (std::int64_t row = from; row < to; ++row) {
      const auto tile = static_cast<std::size_t>(row / tile_rows);
      const float* values = data[tile] + row % tile_rows * scores[tile].size(1);
      const std::int64_t history = rows.begin + row + 1;
      std::int32_t* out = indices + row * width;
      const std::int64_t count =
          by_mass ? kernels::cpu::top_mass_row(values, history, rule.budget.value, forced, out, scratch)
                  : kernels::cpu::top_k_row(values, history, rows.budget_tokens, forced, out, scratch);
      std::fill(out + count, out + width, -1);
      counts[row] = static_cast<std::int32_t>(count);
    }
  });
  if (by_mass) {
    const auto widest = static_cast<std::int64_t>(*std::max_element(counts, counts + rows.size()));
    result.indices = result.indices.narrow(1, 0, widest).contiguous();
  }
  return result;
}

at::Tensor select_mask(const at::Tensor& scores, const RowRange& rows, const SelectionRule& rule) {
  const auto options = scores.options();
  const std::int64_t columns = scores.size(1);
  const at::Tensor row = at::arange(rows.begin, rows.end, options.dtype(at::kLong)).unsqueeze(1);
  const at::Tensor key = at::arange(columns, options.dtype(at::kLong)).unsqueeze(0);
  const at::Tensor causal = key <= row;
  const bool by_mass = rule.budget.kind == BudgetKind::mass;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const double lowest = std::numeric_limits<float>::lowest();
  // NaN ranks below everything a score can be, yet above what is not causal.
  at::Tensor shared = by_mass ? at::nan_to_num(scores, 0.0) : at::nan_to_num(scores, lowest);
  if (rule.granularity > 1) {
    const at::Tensor sums = shared.to(at::kDouble).masked_fill_(causal.logical_not(), 0.0);
    const std::int64_t padding = (rule.granularity - rows.size() % rule.granularity) % rule.granularity;
    const at::Tensor padded = padding == 0 ? sums : at::cat({sums, at::zeros({padding, columns}, sums.options())});
    shared = padded.reshape({-1, rule.granularity, columns})
                 .sum(1)
                 .to(at::kFloat)
                 .repeat_interleave(rule.granularity, 0)
                 .narrow(0, 0, rows.size());
  }
  const at::Tensor own = key == row;
  const at::Tensor forced = (key < rule.forced.sinks)
                                .logical_or(key > row - std::max<std::int64_t>(1, rule.forced.local))
                                .logical_and(causal);
  // Ranks: own key, other forced keys, scores, keys out of sight.
  at::Tensor ranked = shared.clamp(lowest, -lowest);
  ranked = at::where(forced, at::full({}, by_mass ? infinity : -lowest, options), ranked);
  ranked = at::where(own, at::full({}, infinity, options), ranked).masked_fill_(causal.logical_not(), -infinity);

  if (by_mass) {
    const auto [sorted, order] = at::sort(ranked, /*stable=*/true, 1, /*descending=*/true);
    const at::Tensor mass = shared.to(at::kDouble).masked_fill(causal.logical_not(), 0.0);
    const at::Tensor in_order = mass.gather(1, order);
    const at::Tensor before = at::cumsum(in_order, 1) - in_order;
    const at::Tensor wanted = mass.sum(1, true) * (rule.budget.value * (1 - 1e-12));
    const at::Tensor take = (before < wanted).logical_or(sorted == infinity);
    return at::zeros_like(take).scatter_(1, order, take).logical_and_(causal);
  }
  const std::int64_t k = std::min(rows.budget_tokens, columns);
  const at::Tensor least = std::get<0>(at::topk(ranked, k, 1)).narrow(1, k - 1, 1);
  const at::Tensor above = ranked > least;
  const at::Tensor equal = (ranked == least).logical_and_(causal);
  const at::Tensor room = k - above.sum(1, true);
  return above.logical_or(equal.logical_and(at::cumsum(equal, 1) <= room)).logical_and_(causal);
}

SupportTile tile_from_mask(const at::Tensor& mask, std::int64_t row_begin) {
  const at::Tensor counts = mask.sum(1);
  const at::Tensor pairs = mask.nonzero();  // row-major, so keys ascend within a row
  const at::Tensor row = pairs.select(1, 0);
  const at::Tensor start = at::cumsum(counts, 0) - counts;
  const at::Tensor place = at::arange(pairs.size(0), pairs.options()) - start.gather(0, row);
  const std::int64_t width = counts.max().item<std::int64_t>();
  const at::Tensor indices = at::full({mask.size(0) * width}, -1, mask.options().dtype(at::kInt));
  indices.scatter_(0, row * width + place, pairs.select(1, 1).to(at::kInt));
  return {row_begin, indices.reshape({mask.size(0), width}), counts.to(at::kInt)};
}

SupportTile whole_history(const RowRange& rows, c10::Device device) {
  const auto options = at::TensorOptions().dtype(at::kInt).device(device);
  const at::Tensor row = at::arange(rows.begin, rows.end, options);
  const at::Tensor key = at::arange(rows.end, options);
  const at::Tensor indices = key.unsqueeze(0).expand({rows.size(), rows.end});
  return {rows.begin, indices.masked_fill(indices > row.unsqueeze(1), -1), row + 1};
}

}  // namespace headroom::attention
