// SPDX-License-Identifier: Apache-2.0
#include "attention/analysis_rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "kernels/cpu/rows/row_kernels.h"

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
      heads_(rows.num_q_heads() + 1),
      groups_(std::ssize(targets.result->support)),
      of_keys_(static_cast<std::size_t>(heads_), 1.0),
      supports_(static_cast<std::size_t>(groups_)),
      missed_(static_cast<std::size_t>(groups_)) {}

BlockSums BlockAnalysis::run(std::int64_t begin, std::int64_t end) {
  sums_ = {};
  sums_.statistics.resize(static_cast<std::size_t>(heads_) * num_head_statistics);
  sums_.curve_sums.resize(static_cast<std::size_t>(heads_ * std::ssize(targets_.budgets)));
  sums_.curve_minima.assign(static_cast<std::size_t>(heads_ * std::ssize(targets_.budgets)), 1.0f);
  sums_.column_sums.resize(static_cast<std::size_t>(heads_ * end));
  sums_.column_counts.resize(static_cast<std::size_t>(groups_ * end));
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
    if (rows_.has_sinks()) {
      kernels.max_and_sum(values, history, max, sum);
      of_keys_[static_cast<std::size_t>(head)] = static_cast<double>(sum);
    }
    add(HeadStatistic::learned_sink, rows_.has_sinks() ? 1 - static_cast<double>(sum)
                                                       : std::numeric_limits<double>::quiet_NaN());
    kernels.add(sums_.column_sums.data() + slot(head, block_end_, 0), values, history, 1.0f);
  }
  order_.resize(static_cast<std::size_t>(history));
  cpu::sort_row(mass, history, order_.data(), scratch_);
  add_curves(row);
  if (options_.thumbnails) add_thumbnails(row);
  if (groups_ != 0)
    score_support(row);
  else
    sums_.attended_pairs += static_cast<double>(history);
}

const float* BlockAnalysis::group_mass(std::int64_t row, std::int64_t group) {
  if (options_.scope == SupportScope::layer) return p(heads_ - 1, row);
  if (options_.scope == SupportScope::q_head) return p(group, row);
  const std::int64_t history = row + 1, per_group = (heads_ - 1) / groups_;
  group_mass_.assign(static_cast<std::size_t>(cpu::padded_keys(history)), 0.0f);
  for (std::int64_t head = group * per_group; head < (group + 1) * per_group; ++head)
    cpu::row_kernels().add(group_mass_.data(), p(head, row), history, 1.0f / static_cast<float>(per_group));
  return group_mass_.data();
}

GroupScore BlockAnalysis::score_group(std::int64_t row, std::int64_t group) {
  const std::int64_t history = row + 1;
  LayerAnalysis& result = *targets_.result;
  const auto g = static_cast<std::size_t>(group);
  const SupportBitmap& support = result.support[g];
  std::vector<std::int32_t>& keys = supports_[g];
  decode(support.row(row), history, keys);
  for (const std::int32_t key : keys) ++sums_.column_counts[slot(group, block_end_, key)];

  // A mass budget has no k of its own: each row's target is as large as its support.
  const std::int64_t k =
      options_.budget_tokens > 0 ? options_.budget_tokens : std::max<std::int64_t>(1, std::ssize(keys));
  const float* mass = group_mass(row, group);
  target_.resize(static_cast<std::size_t>(std::min(k, history)));
  cpu::top_k_row(mass, history, k, {options_.forced.sinks, options_.forced.local}, target_.data(), scratch_);
  missed_[g].clear();
  for (const std::int32_t key : target_) {
    result.target[g].set(row, key);
    if (!support.test(row, key)) missed_[g].push_back(key);
  }
  const float small = 0.1f / static_cast<float>(history);
  for (const std::int32_t key : keys)
    if (!result.target[g].test(row, key) && mass[key] < small) result.wasted[g].set(row, key);
  GroupScore score;
  score.keys = std::ssize(keys);
  score.is_long = history > k;
  if (!score.is_long) return score;

  score.recall = 1 - static_cast<double>(missed_[g].size()) / static_cast<double>(target_.size());
  const std::vector<std::int32_t>* order = &order_;
  if (options_.scope != SupportScope::layer) {
    group_order_.resize(static_cast<std::size_t>(history));
    cpu::sort_row(mass, history, group_order_.data(), scratch_);
    order = &group_order_;
  }
  double total = 0, sum = 0;
  for (std::int64_t key = 0; key < history; ++key) total += static_cast<double>(mass[key]);
  std::int64_t needed = 0, found = 0, reachable = 0;
  while (needed < history && (needed == 0 || sum < 0.95 * total)) {
    const std::int32_t key = (*order)[static_cast<std::size_t>(needed++)];
    sum += static_cast<double>(mass[key]);
    found += support.test(row, key);
    reachable += result.target[g].test(row, key);
  }
  if (reachable > 0) score.recall_95 = static_cast<double>(found) / static_cast<double>(reachable);
  return score;
}

void BlockAnalysis::score_support(std::int64_t row) {
  bool is_long = false;
  double recall = 0, recall_95 = 0;
  std::int64_t groups_95 = 0;
  for (std::int64_t group = 0; group < groups_; ++group) {
    const GroupScore score = score_group(row, group);
    sums_.attended_pairs += static_cast<double>(score.keys) / static_cast<double>(groups_);
    is_long |= score.is_long;
    recall += score.recall;
    recall_95 += score.recall_95.value_or(0);
    groups_95 += score.recall_95.has_value();
  }
  if (!is_long) return;

  ++sums_.long_rows;
  const std::int64_t q_heads = heads_ - 1;
  double of_heads = 0, missed_of_heads = 0;
  for (std::int64_t head = 0; head < heads_; ++head) {
    const bool is_mean = head == q_heads;
    const auto group = static_cast<std::size_t>(is_mean || groups_ == 1 ? 0 : head / (q_heads / groups_));
    // Where supports differ by head there is none for the mean over heads: what the heads capture is averaged.
    const bool averaged = is_mean && groups_ > 1;
    const auto heads = static_cast<double>(q_heads);
    const double captured = averaged ? of_heads / heads : sum_at(p(head, row), supports_[group]);
    const double missed = averaged ? missed_of_heads / heads : sum_at(p(head, row), missed_[group]);
    of_heads += captured;
    missed_of_heads += missed;
    double* statistics = sums_.statistics.data() + slot(head, num_head_statistics, 0);
    statistics[static_cast<std::size_t>(HeadStatistic::captured_mass)] += captured;
    statistics[static_cast<std::size_t>(HeadStatistic::missed_mass)] += missed;
    const double of_keys = rows_.has_sinks() ? of_keys_[static_cast<std::size_t>(head)] : 1;
    statistics[static_cast<std::size_t>(HeadStatistic::uncaptured_mass)] += of_keys - captured;
    if (!is_mean) continue;
    sums_.captured_sum += captured;
    sums_.captured_min = std::min(sums_.captured_min, captured);
  }
  sums_.recall_sum += recall / static_cast<double>(groups_);
  if (groups_95 == 0) return;
  ++sums_.recall_95_rows;
  sums_.recall_95_sum += recall_95 / static_cast<double>(groups_95);
}

void BlockAnalysis::add_curves(std::int64_t row) {
  const std::int64_t history = row + 1;
  const bool keep = row % targets_.curve_step == 0;
  for (std::int64_t head = 0; head < heads_; ++head) {
    const float* values = p(head, row);
    double sum = 0;
    std::int64_t taken = 0;
    for (std::int64_t i = 0; i < std::ssize(targets_.budgets); ++i) {
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
      const std::size_t place = slot(head, std::ssize(targets_.budgets), i);
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
