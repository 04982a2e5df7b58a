// SPDX-License-Identifier: Apache-2.0
// Selection on the CPU from tiles of scores, whoever made them.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "attention/backends/cpu_backend.h"
#include "attention/parallel.h"
#include "kernels/cpu/select/top_k.h"

namespace headroom::attention {
namespace cpu = kernels::cpu;

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

SupportTile select_rows(std::vector<at::Tensor>& scores, std::int64_t begin, std::int64_t end, std::int64_t tile_rows,
                        const SelectionRule& rule, std::int64_t tokens, const JobContext& job) {
  const bool by_mass = rule.budget.kind == BudgetKind::mass;
  const std::int64_t width = by_mass ? end : std::min(tokens, end), rows = end - begin;
  SupportTile result;
  result.row_begin = begin;
  result.row_end = end;
  result.groups = scores.front().size(0);
  result.shared_rows = rule.granularity;
  result.indices = at::empty({result.groups, rows, width}, at::kInt);
  result.counts = at::empty({result.groups, rows}, at::kInt);
  auto* indices = result.indices.mutable_data_ptr<std::int32_t>();
  auto* counts = result.counts.mutable_data_ptr<std::int32_t>();
  const cpu::ForcedRange forced{rule.forced.sinks, rule.forced.local};
  std::vector<float*> data;
  for (at::Tensor& tile : scores) data.push_back(tile.mutable_data_ptr<float>());
  const auto num_tiles = std::ssize(scores);
  const cpu::RunTasks run = parallel_tasks(job);
  if (rule.granularity > 1) {
    run(result.groups * num_tiles, [&](std::int64_t task) {
      const auto i = static_cast<std::size_t>(task % num_tiles);
      const std::int64_t tile_size = scores[i].size(1), columns = scores[i].size(2);
      share_block_scores(data[i] + task / num_tiles * tile_size * columns,
                         begin + static_cast<std::int64_t>(i) * tile_rows, tile_size, columns, rule.granularity);
    });
  }
  constexpr std::int64_t rows_at_once = 16;
  const std::int64_t chunks = (rows + rows_at_once - 1) / rows_at_once;
  run(result.groups * chunks, [&](std::int64_t task) {
    thread_local cpu::SelectScratch scratch;
    const std::int64_t group = task / chunks, from = task % chunks * rows_at_once;
    for (std::int64_t row = from; row < std::min(from + rows_at_once, rows); ++row) {
      const auto tile = static_cast<std::size_t>(row / tile_rows);
      const std::int64_t tile_size = scores[tile].size(1), columns = scores[tile].size(2);
      const float* values = data[tile] + (group * tile_size + row % tile_rows) * columns;
      const std::int64_t history = begin + row + 1;
      std::int32_t* out = indices + (group * rows + row) * width;
      const std::int64_t count = by_mass ? cpu::top_mass_row(values, history, rule.budget.value, forced, out, scratch)
                                         : cpu::top_k_row(values, history, tokens, forced, out, scratch);
      std::fill(out + count, out + width, -1);
      counts[group * rows + row] = static_cast<std::int32_t>(count);
    }
  });
  if (by_mass) {
    const auto widest = static_cast<std::int64_t>(*std::max_element(counts, counts + result.counts.numel()));
    result.indices = result.indices.narrow(2, 0, widest).contiguous();
  }
  return result;
}

}  // namespace headroom::attention
