// SPDX-License-Identifier: Apache-2.0
#include "attention/analysis_rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "kernels/cpu/row_kernels.h"

namespace headroom::attention {
namespace cpu = kernels::cpu;
namespace {

constexpr std::int64_t sink_positions = 4, local_positions = 64;

/// Set bits of a bitmap row, ascending.
void decode(std::span<const std::uint8_t> bytes, std::int64_t keys, std::vector<std::int32_t>& positions) {
  positions.clear();
  for (std::int64_t byte = 0; byte * 8 < keys; ++byte)
    for (unsigned bits = bytes[static_cast<std::size_t>(byte)]; bits != 0; bits &= bits - 1) {
      const std::int64_t key = byte * 8 + std::countr_zero(bits);
      if (key < keys) positions.push_back(static_cast<std::int32_t>(key));
    }
}

double sum_at(const float* values, const std::vector<std::int32_t>& positions) {
  double sum = 0;
  for (const std::int32_t position : positions) sum += static_cast<double>(values[position]);
  return sum;
}

std::size_t slot(std::int64_t row, std::int64_t columns, std::int64_t column) {
  return static_cast<std::size_t>(row * columns + column);
}

}  // namespace

BlockAnalysis::BlockAnalysis(const HeadRows& rows, const AnalysisOptions& options, AnalysisTargets& targets,
                             const JobContext& job)
    : rows_(rows),
      options_(options),
      targets_(targets),
      job_(job),
      length_(rows.length()),
      heads_(rows.num_q_heads() + 1) {}

BlockSums BlockAnalysis::run(std::int64_t begin, std::int64_t end) {
  sums_ = {};
  sums_.statistics.resize(static_cast<std::size_t>(heads_) * num_head_statistics);
  sums_.curve_sums.resize(static_cast<std::size_t>(heads_ * num_curve_budgets));
  sums_.curve_minima.assign(static_cast<std::size_t>(heads_ * num_curve_budgets), 1.0f);
  sums_.column_sums.resize(static_cast<std::size_t>(heads_ * end));
  sums_.column_counts.resize(static_cast<std::size_t>(end));
  block_end_ = end;
  stride_ = HeadRows::stride(end);
  buffer_.resize(static_cast<std::size_t>(heads_ * rows_at_once * stride_));
  lse_.resize(static_cast<std::size_t>(rows_at_once));
  LayerAnalysis& result = *targets_.result;
  for (tile_begin_ = begin; tile_begin_ < end; tile_begin_ += rows_at_once) {
    job_.check();
    const std::int64_t tile_end = std::min(tile_begin_ + rows_at_once, end);
    for (std::int64_t head = 0; head + 1 < heads_; ++head) {
      rows_.probabilities(head, tile_begin_, tile_end, p(head, tile_begin_), stride_, lse_.data());
      std::copy_n(lse_.begin(), tile_end - tile_begin_, result.lse.begin() + head * length_ + tile_begin_);
    }
    for (std::int64_t row = tile_begin_; row < tile_end; ++row) analyse_row(row);
  }
  if (options_.thumbnails) finish_thumbnails(begin, end);
  return std::move(sums_);
}

void BlockAnalysis::analyse_row(std::int64_t row) {
  const cpu::RowKernels& kernels = cpu::row_kernels();
  const std::int64_t history = row + 1;
  float* mass = p(heads_ - 1, row);
  std::fill_n(mass, cpu::padded_keys(history), 0.0f);
  const float share = 1.0f / static_cast<float>(heads_ - 1);
  for (std::int64_t head = 0; head + 1 < heads_; ++head) kernels.add(mass, p(head, row), history, share);

  constexpr std::array<double, 3> shares = {0.90, 0.95, 0.99};
  for (std::int64_t head = 0; head < heads_; ++head) {
    const float* values = p(head, row);
    double* statistics = sums_.statistics.data() + slot(head, num_head_statistics, 0);
    const auto add = [&](HeadStatistic which, double value) { statistics[static_cast<std::size_t>(which)] += value; };
    add(HeadStatistic::entropy, kernels.entropy(values, history));
    std::array<std::int64_t, 3> counts;
    cpu::fewest_keys(values, history, shares, counts, scratch_);
    add(HeadStatistic::keys_for_90, static_cast<double>(counts[0]));
    add(HeadStatistic::keys_for_95, static_cast<double>(counts[1]));
    add(HeadStatistic::keys_for_99, static_cast<double>(counts[2]));
    float max = 0, sum = 0;
    kernels.max_and_sum(values, std::min(sink_positions, history), max, sum);
    add(HeadStatistic::sink_mass, static_cast<double>(sum));
    const std::int64_t local = std::min(local_positions, history);
    kernels.max_and_sum(values + history - local, local, max, sum);
    add(HeadStatistic::local_mass, static_cast<double>(sum));
    kernels.add(sums_.column_sums.data() + slot(head, block_end_, 0), values, history, 1.0f);
  }
  order_.resize(static_cast<std::size_t>(history));
  cpu::sort_row(mass, history, order_.data(), scratch_);
  add_curves(row);
  if (options_.thumbnails) add_thumbnails(row);
  if (targets_.result->support.length() != 0)
    score_support(row);
  else
    sums_.attended_pairs += history;
}

void BlockAnalysis::score_support(std::int64_t row) {
  LayerAnalysis& result = *targets_.result;
  const std::int64_t history = row + 1;
  const float* mass = p(heads_ - 1, row);
  decode(result.support.row(row), history, support_);
  sums_.attended_pairs += static_cast<std::int64_t>(support_.size());
  for (const std::int32_t key : support_) ++sums_.column_counts[static_cast<std::size_t>(key)];

  // A mass budget has no k of its own: each row's target is as large as its support.
  const std::int64_t k =
      options_.budget_tokens > 0 ? options_.budget_tokens : std::max<std::int64_t>(1, std::ssize(support_));
  target_.resize(static_cast<std::size_t>(std::min(k, history)));
  cpu::top_k_row(mass, history, k, {0, 1}, target_.data(), scratch_);
  std::int64_t hits = 0;
  for (const std::int32_t key : target_) {
    result.target.set(row, key);
    hits += result.support.test(row, key);
  }
  const float small = 0.1f / static_cast<float>(history);
  for (const std::int32_t key : support_)
    if (!result.target.test(row, key) && mass[key] < small) result.wasted.set(row, key);
  if (history <= k) return;

  ++sums_.long_rows;
  for (std::int64_t head = 0; head < heads_; ++head) {
    const double captured = sum_at(p(head, row), support_);
    double* statistics = sums_.statistics.data() + slot(head, num_head_statistics, 0);
    statistics[static_cast<std::size_t>(HeadStatistic::captured_mass)] += captured;
    statistics[static_cast<std::size_t>(HeadStatistic::missed_mass)] += 1 - captured;
    if (head + 1 < heads_) continue;
    sums_.captured_sum += captured;
    sums_.captured_min = std::min(sums_.captured_min, captured);
  }
  sums_.recall_sum += static_cast<double>(hits) / static_cast<double>(target_.size());
  double total = 0, sum = 0;
  for (std::int64_t key = 0; key < history; ++key) total += static_cast<double>(mass[key]);
  std::int64_t needed = 0, found = 0;
  while (needed < history && (needed == 0 || sum < 0.95 * total)) {
    const std::int32_t key = order_[static_cast<std::size_t>(needed++)];
    sum += static_cast<double>(mass[key]);
    found += result.support.test(row, key);
  }
  sums_.recall_95_sum += static_cast<double>(found) / static_cast<double>(needed);
}

void BlockAnalysis::add_curves(std::int64_t row) {
  const std::int64_t history = row + 1;
  const bool keep = row % targets_.curve_step == 0;
  for (std::int64_t head = 0; head < heads_; ++head) {
    const float* values = p(head, row);
    double sum = 0;
    std::int64_t taken = 0;
    for (std::int64_t i = 0; i < num_curve_budgets; ++i) {
      const std::int64_t budget = targets_.budgets[static_cast<std::size_t>(i)];
      if (history <= budget) break;
      float part = 0;  // few values at a time in fp32, double across them
      for (; taken < budget; ++taken) {
        part += values[order_[static_cast<std::size_t>(taken)]];
        if ((taken & 63) == 63) {
          sum += static_cast<double>(part);
          part = 0;
        }
      }
      sum += static_cast<double>(part);
      const auto value = static_cast<float>(std::min(sum, 1.0));
      const std::size_t place = slot(head, num_curve_budgets, i);
      sums_.curve_sums[place] += static_cast<double>(value);
      sums_.curve_minima[place] = std::min(sums_.curve_minima[place], value);
      if (keep)
        targets_.curve_values[place * static_cast<std::size_t>(targets_.curve_rows) +
                              static_cast<std::size_t>(row / targets_.curve_step)] = value;
    }
  }
}

void BlockAnalysis::add_thumbnails(std::int64_t row) {
  const cpu::RowKernels& kernels = cpu::row_kernels();
  LayerAnalysis& result = *targets_.result;
  const std::int64_t history = row + 1, cell = targets_.cell, size = options_.thumbnail_size;
  for (std::int64_t head = 0; head < heads_; ++head) {
    const float* values = p(head, row);
    const std::size_t base = slot(head * size + row / cell, size, 0);
    for (std::int64_t column = 0; column * cell < history; ++column) {
      float max = 0, sum = 0;
      kernels.max_and_sum(values + column * cell, std::min(cell, history - column * cell), max, sum);
      const std::size_t place = base + static_cast<std::size_t>(column);
      result.thumbnail_max[place] = std::max(result.thumbnail_max[place], max);
      result.thumbnail_mean[place] += sum;  // divided once the cell is complete
    }
  }
}

void BlockAnalysis::finish_thumbnails(std::int64_t begin, std::int64_t end) {
  LayerAnalysis& result = *targets_.result;
  const std::int64_t cell = targets_.cell, size = options_.thumbnail_size;
  for (std::int64_t cell_row = begin / cell; cell_row * cell < end; ++cell_row) {
    const std::int64_t first = cell_row * cell, last = std::min(first + cell, length_) - 1;
    for (std::int64_t column = 0; column <= cell_row; ++column) {
      std::int64_t pairs = 0;
      for (std::int64_t row = first; row <= last; ++row)
        pairs += std::clamp<std::int64_t>(row + 1 - column * cell, 0, cell);
      for (std::int64_t head = 0; head < heads_; ++head)
        result.thumbnail_mean[slot(head * size + cell_row, size, column)] /= static_cast<float>(pairs);
    }
  }
}

}  // namespace headroom::attention
