// SPDX-License-Identifier: Apache-2.0
#include "attention/analysis.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "attention/analysis_rows.h"
#include "base/error.h"

namespace headroom::attention {
namespace {

// Percentiles of longer prompts come from evenly spaced rows, so that they stay below 100 MB.
constexpr std::int64_t max_percentile_rows = 16384;
constexpr std::int64_t rows_per_block = 64;

/// The 10th percentile, linear between ranks. Reorders `values`, which are not empty.
float percentile_10(std::vector<float>& values) {
  const double place = 0.1 * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::ptrdiff_t>(place);
  std::nth_element(values.begin(), values.begin() + low, values.end());
  const float below = values[static_cast<std::size_t>(low)];
  if (low + 1 == std::ssize(values)) return below;
  const float above = *std::min_element(values.begin() + low + 1, values.end());
  return below + static_cast<float>(place - static_cast<double>(low)) * (above - below);
}

class Analyser {
 public:
  Analyser(const LayerQuery& query, std::vector<SupportBitmap> support, const AnalysisOptions& options,
           const JobContext& job)
      : options_(options),
        job_(job),
        rows_(query),
        length_(query.length()),
        heads_(query.num_q_heads() + 1),
        groups_(std::ssize(support)) {
    if (groups_ != 0 && groups_ != num_support_groups(options.scope, query.num_q_heads(), query.num_kv_heads()))
      throw Error(ErrorKind::internal, std::to_string(groups_) + " supports were given for a layer of " +
                                           std::to_string(query.num_q_heads()) + " heads");
    for (const SupportBitmap& one : support)
      if (one.length() != length_)
        throw Error(ErrorKind::internal, "a support of " + std::to_string(one.length()) +
                                             " rows was given for a prompt of " + std::to_string(length_));
    result_.support = std::move(support);
  }

  LayerAnalysis run() {
    prepare();
    // Whole cells of the thumbnails whether they are wanted or not: sums have the same bits with and without a record.
    const std::int64_t cell = targets_.cell;
    const std::int64_t block = std::max<std::int64_t>(1, rows_per_block / cell) * cell;
    const std::int64_t num_blocks = (length_ + block - 1) / block;
    const std::int64_t wave = 2 * at::get_num_threads();
    for (std::int64_t first = 0; first < num_blocks; first += wave) {
      std::vector<BlockSums> sums(static_cast<std::size_t>(std::min(wave, num_blocks - first)));
      at::parallel_for(0, std::ssize(sums), 1, [&](std::int64_t from, std::int64_t to) {
        BlockAnalysis analysis(rows_, options_, targets_, job_);
        for (std::int64_t i = from; i < to; ++i) {
          const std::int64_t begin = (first + i) * block;
          sums[static_cast<std::size_t>(i)] = analysis.run(begin, std::min(begin + block, length_));
        }
      });
      for (const BlockSums& part : sums) join(part);
    }
    finish();
    return std::move(result_);
  }

 private:
  std::int64_t budgets() const { return std::ssize(targets_.budgets); }
  static std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }

  void prepare() {
    targets_.result = &result_;
    targets_.budgets = curve_budgets(length_);
    targets_.curve_step = (length_ + max_percentile_rows - 1) / max_percentile_rows;
    targets_.curve_rows = (length_ + targets_.curve_step - 1) / targets_.curve_step;
    targets_.curve_values.resize(size(heads_ * budgets() * targets_.curve_rows));
    result_.lse.resize(size((heads_ - 1) * length_));
    targets_.cell = (length_ + options_.thumbnail_size - 1) / options_.thumbnail_size;
    if (options_.thumbnails) {
      const std::size_t places = size(heads_ * options_.thumbnail_size * options_.thumbnail_size);
      result_.thumbnail_max.resize(places);
      result_.thumbnail_mean.resize(places);
    }
    result_.target.assign(size(groups_), SupportBitmap(length_));
    result_.wasted.assign(size(groups_), SupportBitmap(length_));
    total_.statistics.resize(size(heads_) * num_head_statistics);
    total_.curve_sums.resize(size(heads_ * budgets()));
    total_.curve_minima.assign(size(heads_ * budgets()), 1.0f);
    column_sums_.resize(size(heads_ * length_));
    column_counts_.resize(size(groups_ * length_));
  }

  /// In block order: the same rounding for any number of threads.
  void join(const BlockSums& part) {
    const auto add = [](auto& to, const auto& from) {
      for (std::size_t i = 0; i < to.size(); ++i) to[i] += from[i];
    };
    add(total_.statistics, part.statistics);
    add(total_.curve_sums, part.curve_sums);
    for (std::size_t i = 0; i < part.curve_minima.size(); ++i)
      total_.curve_minima[i] = std::min(total_.curve_minima[i], part.curve_minima[i]);
    total_.captured_sum += part.captured_sum;
    total_.captured_min = std::min(total_.captured_min, part.captured_min);
    total_.recall_sum += part.recall_sum;
    total_.recall_95_sum += part.recall_95_sum;
    total_.long_rows += part.long_rows;
    total_.recall_95_rows += part.recall_95_rows;
    total_.attended_pairs += part.attended_pairs;
    const std::int64_t end = std::ssize(part.column_sums) / heads_;
    for (std::int64_t head = 0; head < heads_; ++head)
      for (std::int64_t key = 0; key < end; ++key)
        column_sums_[size(head * length_ + key)] += static_cast<double>(part.column_sums[size(head * end + key)]);
    for (std::int64_t group = 0; group < groups_; ++group)
      for (std::int64_t key = 0; key < end; ++key)
        column_counts_[size(group * length_ + key)] += part.column_counts[size(group * end + key)];
  }

  void finish() {
    const bool sparse = groups_ != 0;
    const auto rows = static_cast<double>(length_), long_rows = static_cast<double>(total_.long_rows);
    result_.statistics.resize(total_.statistics.size());
    for (std::size_t i = 0; i < total_.statistics.size(); ++i) {
      const auto which = static_cast<HeadStatistic>(i % num_head_statistics);
      const double value = which < HeadStatistic::captured_mass ? total_.statistics[i] / rows
                           : sparse                             ? total_.statistics[i] / long_rows
                           : which == HeadStatistic::captured_mass ? 1.0
                                                                   : 0.0;
      result_.statistics[i] = static_cast<float>(value);
    }
    result_.attended_pairs = total_.attended_pairs;
    if (sparse) {
      // 0 / 0 where no row counts: there is nothing to average.
      result_.captured_mass_mean = total_.captured_sum / long_rows;
      result_.captured_mass_min = total_.long_rows > 0 ? total_.captured_min : result_.captured_mass_mean;
      if (total_.long_rows > 0) result_.oracle_recall = total_.recall_sum / long_rows;
      if (total_.recall_95_rows > 0)
        result_.oracle_recall_95 = total_.recall_95_sum / static_cast<double>(total_.recall_95_rows);
      result_.selection_frequency.resize(size(groups_ * length_));
    }
    result_.mass_received.resize(size(heads_ * length_));
    for (std::int64_t key = 0; key < length_; ++key) {
      const auto seen_by = static_cast<double>(length_ - key);
      for (std::int64_t head = 0; head < heads_; ++head) {
        const std::size_t place = size(head * length_ + key);
        result_.mass_received[place] = static_cast<float>(column_sums_[place] / seen_by);
      }
      for (std::int64_t group = 0; group < groups_; ++group) {
        const std::size_t place = size(group * length_ + key);
        result_.selection_frequency[place] = static_cast<float>(column_counts_[place] / seen_by);
      }
    }
    finish_curves();
  }

  void finish_curves() {
    constexpr float none = std::numeric_limits<float>::quiet_NaN();
    const std::int64_t count = budgets();
    result_.curves.resize(size(heads_ * 3 * count));
    at::parallel_for(0, heads_ * count, 8, [&](std::int64_t from, std::int64_t to) {
      std::vector<float> values;
      for (std::int64_t place = from; place < to; ++place) {
        const std::int64_t head = place / count, i = place % count;
        const std::int64_t budget = targets_.budgets[size(i)];
        float* out = result_.curves.data() + head * 3 * count + i;
        // Rows with history > budget are t >= budget. At budget L there are none, and nothing to average.
        const std::int64_t rows = length_ - budget;
        const std::int64_t first = (budget + targets_.curve_step - 1) / targets_.curve_step;
        out[0] = rows > 0 ? static_cast<float>(total_.curve_sums[size(place)] / static_cast<double>(rows)) : none;
        const float* stored = targets_.curve_values.data() + place * targets_.curve_rows;
        values.assign(stored + std::min(first, targets_.curve_rows), stored + targets_.curve_rows);
        out[count] = values.empty() ? none : percentile_10(values);
        out[2 * count] = rows > 0 ? total_.curve_minima[size(place)] : none;
      }
    });
  }

  const AnalysisOptions& options_;
  const JobContext& job_;
  const HeadRows rows_;
  const std::int64_t length_, heads_, groups_;
  LayerAnalysis result_;
  AnalysisTargets targets_;
  BlockSums total_;
  std::vector<double> column_sums_, column_counts_;
};

}  // namespace

std::vector<std::int64_t> curve_budgets(std::int64_t length) {
  std::vector<std::int64_t> budgets;
  for (std::int64_t i = 0; i < most_curve_budgets; ++i) {
    const double exponent = static_cast<double>(i) / static_cast<double>(most_curve_budgets - 1);
    const std::int64_t budget = std::llround(std::pow(static_cast<double>(length), exponent));
    if (budgets.empty() || budget > budgets.back()) budgets.push_back(budget);
  }
  return budgets;
}

LayerAnalysis analyse_layer(const LayerQuery& query, std::vector<SupportBitmap> support,
                            const AnalysisOptions& options, const JobContext& job) {
  check_query(query);
  if (options.thumbnail_size < 1)
    throw Error(ErrorKind::internal, "thumbnails need at least one cell");
  return Analyser(query, std::move(support), options, job).run();
}

}  // namespace headroom::attention
