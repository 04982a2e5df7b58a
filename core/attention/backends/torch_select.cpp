// SPDX-License-Identifier: Apache-2.0
// From scores to supports with tensor operators.
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cumsum.h>
#include <ATen/ops/full.h>
#include <ATen/ops/nan_to_num.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <limits>

#include "attention/backends/torch_backend.h"

namespace headroom::attention {
namespace {

/// Rows of a block replaced by their sum over the rows that see a key.
at::Tensor share_blocks(const at::Tensor& scores, const at::Tensor& causal, std::int64_t granularity) {
  const std::int64_t groups = scores.size(0), rows = scores.size(1), columns = scores.size(2);
  const at::Tensor sums = scores.to(at::kDouble).masked_fill_(causal.logical_not(), 0.0);
  const std::int64_t padding = (granularity - rows % granularity) % granularity;
  const at::Tensor padded =
      padding == 0 ? sums : at::cat({sums, at::zeros({groups, padding, columns}, sums.options())}, 1);
  return padded.reshape({groups, -1, granularity, columns})
      .sum(2)
      .to(at::kFloat)
      .repeat_interleave(granularity, 1)
      .narrow(1, 0, rows);
}

}  // namespace

at::Tensor select_mask(const at::Tensor& scores, std::int64_t begin, const SelectionRule& rule, std::int64_t tokens) {
  const auto options = scores.options();
  const std::int64_t columns = scores.size(2);
  const at::Tensor row = at::arange(begin, begin + scores.size(1), options.dtype(at::kLong)).unsqueeze(1);
  const at::Tensor key = at::arange(columns, options.dtype(at::kLong)).unsqueeze(0);
  const at::Tensor causal = key <= row;
  const bool by_mass = rule.budget.kind == BudgetKind::mass;
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const double lowest = std::numeric_limits<float>::lowest();
  // NaN ranks below everything a score can be, yet above what is not causal.
  at::Tensor shared = by_mass ? at::nan_to_num(scores, 0.0) : at::nan_to_num(scores, lowest);
  if (rule.granularity > 1) shared = share_blocks(shared, causal, rule.granularity);
  const at::Tensor own = key == row;
  const at::Tensor forced = (key < rule.forced.sinks)
                                .logical_or(key > row - std::max<std::int64_t>(1, rule.forced.local))
                                .logical_and(causal);
  // Forced keys are in. Where they exceed the budget: the own key, then the first ones, then the newest.
  at::Tensor ranked = shared.clamp(lowest, -lowest);
  ranked = at::where(forced, at::full({}, infinity, options), ranked);
  if (!by_mass) {
    const std::int64_t k = std::min(tokens, columns);
    const at::Tensor first = key < std::min(rule.forced.sinks, k - 1);
    const at::Tensor newest = key > row - (k - std::min(rule.forced.sinks, k - 1));
    const at::Tensor beyond = forced.logical_and(first.logical_or(newest).logical_or(own).logical_not());
    ranked = at::where(beyond, at::full({}, lowest, options), ranked);
  }
  ranked.masked_fill_(causal.logical_not(), -infinity);

  if (by_mass) {
    const auto [sorted, order] = at::sort(ranked, /*stable=*/true, 2, /*descending=*/true);
    const at::Tensor mass = shared.to(at::kDouble).masked_fill(causal.logical_not(), 0.0);
    const at::Tensor in_order = mass.gather(2, order);
    const at::Tensor before = at::cumsum(in_order, 2) - in_order;
    const at::Tensor wanted = mass.sum(2, true) * (rule.budget.value * (1 - 1e-12));
    const at::Tensor take = (before < wanted).logical_or(sorted == infinity);
    return at::zeros_like(take).scatter_(2, order, take).logical_and_(causal);
  }
  const std::int64_t k = std::min(tokens, columns);
  const at::Tensor least = std::get<0>(at::topk(ranked, k, 2)).narrow(2, k - 1, 1);
  const at::Tensor above = ranked > least;
  const at::Tensor equal = (ranked == least).logical_and_(causal);
  const at::Tensor room = k - above.sum(2, true);
  return above.logical_or(equal.logical_and(at::cumsum(equal, 2) <= room)).logical_and_(causal);
}

}  // namespace headroom::attention
