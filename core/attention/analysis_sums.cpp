// SPDX-License-Identifier: Apache-2.0
#include "attention/analysis_sums.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>

#include "kernels/cuda/record/config.h"

namespace headroom::attention {
namespace {

std::vector<float> floats_on_host(const at::Tensor& values) {
  const at::Tensor host = values.to(at::kFloat).to(at::kCPU).contiguous();
  const float* first = host.const_data_ptr<float>();
  return {first, first + host.numel()};
}

void finish_supports(DeviceSums& sums, std::int64_t k, LayerAnalysis& result) {
  const at::Tensor counts = sums.row_counts.to(at::kDouble);
  result.attended_pairs = counts.select(1, 0).sum().item<double>();
  const std::int64_t first = std::min(k, sums.length), rows = sums.length - first;  // history > k
  const at::Tensor of_rows = sums.captured.narrow(1, first, rows).to(at::kDouble);
  const at::Tensor means = of_rows.mean(1);  // NaN of no rows: there is nothing to average
  sums.statistics.select(1, static_cast<std::int64_t>(HeadStatistic::captured_mass)).copy_(means.select(1, 0));
  sums.statistics.select(1, static_cast<std::int64_t>(HeadStatistic::missed_mass)).copy_(means.select(1, 1));
  sums.statistics.select(1, static_cast<std::int64_t>(HeadStatistic::uncaptured_mass)).copy_(1 - means.select(1, 0));
  result.captured_mass_mean = means[sums.q_heads][0].item<double>();
  result.captured_mass_min = rows > 0 ? std::min(1.0, of_rows[sums.q_heads].select(1, 0).min().item<double>())
                                      : result.captured_mass_mean;
  if (rows > 0) {
    const at::Tensor long_rows = counts.narrow(0, first, rows);
    const at::Tensor recall = 1 - long_rows.select(1, 2).div(long_rows.select(1, 1));
    result.oracle_recall = recall.mean().item<double>();
    const at::Tensor reachable = long_rows.select(1, 4), any = reachable.gt(0);
    const auto with_any = any.sum().item<std::int64_t>();
    if (with_any > 0)
      result.oracle_recall_95 =
          at::where(any, long_rows.select(1, 3).div(reachable), at::zeros({}, counts.options())).sum().item<double>() /
          static_cast<double>(with_any);
  }
}

void finish_device_curves(const DeviceSums& sums, LayerAnalysis& result) {
  const std::int64_t places = std::ssize(sums.budgets), heads = sums.q_heads + 1;
  const at::Tensor curves =
      at::full({heads, 3, places}, std::numeric_limits<float>::quiet_NaN(), at::TensorOptions().dtype(at::kFloat));
  // Rows that count come first, as many as there are; their 10th percentile lies between two neighbours.
  const at::Tensor sorted = std::get<0>(at::sort(sums.kept_curves.transpose(1, 2).contiguous(), 2));
  const at::Tensor below = at::empty({places}, at::kLong), above = at::empty({places}, at::kLong);
  const at::Tensor share = at::zeros({places}, at::kFloat);
  for (std::int64_t i = 0; i < places; ++i) {
    const std::int64_t budget = sums.budgets[static_cast<std::size_t>(i)];
    const std::int64_t first = std::min((budget + sums.curve_step - 1) / sums.curve_step, sorted.size(2));
    const std::int64_t rows = sorted.size(2) - first;
    const double place = rows > 0 ? 0.1 * static_cast<double>(rows - 1) : 0;
    const auto low = static_cast<std::int64_t>(place);
    below.mutable_data_ptr<std::int64_t>()[i] = low;
    above.mutable_data_ptr<std::int64_t>()[i] = std::min(low + 1, std::max<std::int64_t>(rows, 1) - 1);
    share.mutable_data_ptr<float>()[i] = static_cast<float>(place - static_cast<double>(low));
  }
  const auto at_place = [&](const at::Tensor& place) {
    return sorted.gather(2, place.to(sorted.device()).view({1, places, 1}).expand({heads, places, 1}))
        .squeeze(2)
        .to(at::kCPU);
  };
  const at::Tensor low = at_place(below), percentile = low + share * (at_place(above) - low);
  const at::Tensor totals = sums.curve_sums.to(at::kCPU), minima = sums.curve_minima.to(at::kCPU);
  for (std::int64_t i = 0; i < places; ++i) {
    const std::int64_t budget = sums.budgets[static_cast<std::size_t>(i)], rows = sums.length - budget;
    if (rows <= 0) continue;
    curves.select(1, 0).select(1, i).copy_(totals.select(1, i).div(static_cast<double>(rows)));
    curves.select(1, 2).select(1, i).copy_(minima.select(1, i));
    // Of long prompts not every row is kept for the percentile.
    if ((budget + sums.curve_step - 1) / sums.curve_step < sorted.size(2))
      curves.select(1, 1).select(1, i).copy_(percentile.select(1, i));
  }
  result.curves = floats_on_host(curves);
}

void finish_device_thumbnails(const DeviceSums& sums, std::int64_t size, LayerAnalysis& result) {
  // Causal pairs of each cell.
  const at::Tensor place = at::arange(size, sums.thumbnail_sum.options()).mul(static_cast<double>(sums.cell));
  const at::Tensor row = place.unsqueeze(1), column = place.unsqueeze(0);
  const double whole = static_cast<double>(sums.cell * sums.cell),
               half = static_cast<double>(sums.cell * (sums.cell + 1)) / 2;
  at::Tensor pairs = row.sub(column).sign().add(1).clamp_max(1).mul(whole);
  pairs = at::where(row.eq(column), at::full({}, half, sums.thumbnail_sum.options()), pairs);
  // The last cell may be cut off by the prompt's end, in rows; and so may the diagonal one.
  const std::int64_t last = (sums.length - 1) / sums.cell, rows = sums.length - last * sums.cell;
  pairs.select(0, last).narrow(0, 0, last).fill_(static_cast<double>(rows * sums.cell));
  pairs.select(0, last).select(0, last).fill_(static_cast<double>(rows * (rows + 1)) / 2);
  result.thumbnail_max = floats_on_host(sums.thumbnail_max);
  result.thumbnail_mean = floats_on_host(sums.thumbnail_sum.div(pairs.clamp_min(1.0).unsqueeze(0)));
}

}  // namespace

void finish_device_sums(DeviceSums& sums, const AnalysisOptions& options, LayerAnalysis& result) {
  const at::Tensor seen_by = at::arange(sums.length, 0, -1, sums.column_sums.options());
  result.mass_received = floats_on_host(sums.column_sums.div(seen_by));
  result.lse = floats_on_host(sums.lse);
  sums.statistics.narrow(1, 0, kernels::cuda::record_figures).div_(static_cast<double>(sums.length));
  if (sums.sparse) {
    finish_supports(sums, options.budget_tokens, result);
    result.selection_frequency = floats_on_host(sums.column_counts.to(at::kDouble).div(seen_by));
  } else {
    sums.statistics.select(1, static_cast<std::int64_t>(HeadStatistic::captured_mass)).fill_(1.0);
    result.attended_pairs = static_cast<double>(sums.length) * static_cast<double>(sums.length + 1) / 2;
  }
  // There are no learned sinks here.
  sums.statistics.select(1, static_cast<std::int64_t>(HeadStatistic::learned_sink))
      .fill_(std::numeric_limits<double>::quiet_NaN());
  result.statistics = floats_on_host(sums.statistics);
  finish_device_curves(sums, result);
  if (options.thumbnails) finish_device_thumbnails(sums, options.thumbnail_size, result);
}

}  // namespace headroom::attention
