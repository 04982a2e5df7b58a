// SPDX-License-Identifier: Apache-2.0
#include "statistics/paired.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "statistics/distributions.h"

namespace headroom::statistics {
namespace {

constexpr double points = 100;
constexpr double rule_of_three = 3;
constexpr std::int64_t few_discordant = 10;
constexpr double two_sided = 0.025, one_sided = 0.05;

/// Tango's statistic at a difference: how many standard deviations the counts are from it.
double tango_statistic(const PairCounts& counts, double difference) {
  const double n = static_cast<double>(counts.pairs), b = static_cast<double>(counts.first_only),
               c = static_cast<double>(counts.second_only);
  // The likeliest share of pairs that are right in the second alone, where the difference is given.
  const double linear = -b - c + (2 * n - b + c) * difference, constant = -c * difference * (1 - difference);
  const double root = std::sqrt(std::max(0.0, linear * linear - 8 * n * constant));
  const double second = (root - linear) / (4 * n);
  const double variance = n * (2 * second + difference * (1 - difference));
  const double distance = b - c - n * difference;
  if (variance <= 0) return distance == 0 ? 0 : std::copysign(1e300, distance);
  return distance / std::sqrt(variance);
}

/// The difference at which the statistic is `z`; it falls as the difference grows.
double tango_bound(const PairCounts& counts, double z) {
  double low = -1, high = 1;
  for (int step = 0; step < 100; ++step) {
    const double middle = 0.5 * (low + high);
    (tango_statistic(counts, middle) > z ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

struct Stratum {
  std::vector<double> differences;
  double mean = 0;

  /// Of the mean, unbiased.
  double variance() const {
    const double count = static_cast<double>(differences.size());
    double sum = 0;
    for (const double one : differences) sum += (one - mean) * (one - mean);
    return count > 1 ? sum / (count - 1) / count : 0;
  }
};

struct Sample {
  std::vector<Stratum> strata;
  std::int64_t pairs = 0, discordant = 0, above = 0, below = 0;
  std::int64_t smallest = 0;  ///< stratum
  double mean = 0, largest = 0;
  bool binary = true;
};

Sample sample_of(std::span<const Pairs> tasks) {
  Sample sample;
  for (const Pairs& task : tasks) {
    if (task.first.empty()) continue;
    Stratum stratum;
    for (std::size_t i = 0; i < task.first.size(); ++i) {
      const double first = task.first[i], second = task.second[i], difference = first - second;
      stratum.differences.push_back(difference);
      stratum.mean += difference;
      sample.above += difference > 0;
      sample.below += difference < 0;
      sample.largest = std::max(sample.largest, std::abs(difference));
      const auto is_binary = [](double score) { return score == 0 || score == points; };
      sample.binary = sample.binary && is_binary(first) && is_binary(second);
    }
    const auto count = static_cast<std::int64_t>(stratum.differences.size());
    stratum.mean /= static_cast<double>(count);
    sample.smallest = sample.strata.empty() ? count : std::min(sample.smallest, count);
    sample.pairs += count;
    sample.mean += stratum.mean;
    sample.strata.push_back(std::move(stratum));
  }
  if (!sample.strata.empty()) sample.mean /= static_cast<double>(sample.strata.size());
  sample.discordant = sample.above + sample.below;
  return sample;
}

/// Pairs that count as much as the heaviest one does.
double effective_pairs(const Sample& sample) {
  return static_cast<double>(sample.strata.size()) * static_cast<double>(sample.smallest);
}

double quantile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(place);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - static_cast<double>(low));
}

/// Sorted means of resamples within each stratum.
std::vector<double> resampled_means(const std::vector<Stratum>& strata, const BootstrapOptions& options) {
  Generator random(options.seed);
  std::vector<double> means(static_cast<std::size_t>(options.resamples));
  for (double& mean : means) {
    for (const Stratum& stratum : strata) {
      const auto count = static_cast<std::uint32_t>(stratum.differences.size());
      double sum = 0;
      for (std::uint32_t i = 0; i < count; ++i) sum += stratum.differences[random.below(count)];
      mean += sum / static_cast<double>(count);
    }
    mean /= static_cast<double>(strata.size());
  }
  std::sort(means.begin(), means.end());
  return means;
}

/// The tail of a percentile interval that is as wide as Student's t with the unbiased variance.
double widened_tail(double tail, double smallest, double freedom) {
  return normal_tail(-t_quantile(1 - tail, freedom) * std::sqrt(smallest / (smallest - 1)));
}

Interval percentiles(const std::vector<double>& means, double tail) {
  return {quantile(means, tail), quantile(means, 1 - tail)};
}

void bootstrap(const Sample& sample, const BootstrapOptions& options, Difference& result) {
  result.kind = IntervalKind::bootstrap;
  const double smallest = std::max(2.0, static_cast<double>(sample.smallest));
  const double freedom = std::max(1.0, static_cast<double>(sample.pairs) - static_cast<double>(sample.strata.size()));
  const double pairs = effective_pairs(sample);
  double variance = 0;
  for (const Stratum& stratum : sample.strata) variance += stratum.variance();
  const double error = std::sqrt(variance) / static_cast<double>(sample.strata.size());
  const std::vector<double> means = resampled_means(sample.strata, options);
  const auto interval = [&](double tail) {
    Interval found = percentiles(means, widened_tail(tail, smallest, freedom));
    const double half = std::max(t_quantile(1 - tail, freedom) * error, rule_of_three / pairs * sample.largest);
    found.low = std::min(found.low, sample.mean - half);
    found.high = std::max(found.high, sample.mean + half);
    if (sample.discordant < few_discordant) {
      const PairCounts signs{sample.above, sample.below, static_cast<std::int64_t>(pairs)};
      const Interval guard = tango_interval(signs, normal_quantile(1 - tail));
      found.low = std::min(found.low, guard.low * sample.largest);
      found.high = std::max(found.high, guard.high * sample.largest);
    }
    return found;
  };
  result.interval = interval(two_sided);
  result.bounds = interval(one_sided);
}

/// Under the hypothesis that the two are alike each pair's sign is as likely the other.
void exchange_signs(const Sample& sample, const BootstrapOptions& options, Difference& result) {
  Generator random(options.seed + 1);
  std::int64_t above = 0, below = 0;
  const double slack = 1e-9 * (1 + std::abs(sample.mean));
  for (int round = 0; round < options.sign_exchanges; ++round) {
    double mean = 0;
    std::uint64_t bits = 0;
    int left = 0;
    for (const Stratum& stratum : sample.strata) {
      double sum = 0;
      for (const double difference : stratum.differences) {
        if (difference == 0) continue;
        if (left == 0) {
          bits = random.next();
          left = 64;
        }
        sum += bits & 1 ? difference : -difference;
        bits >>= 1;
        --left;
      }
      mean += sum / static_cast<double>(stratum.differences.size());
    }
    mean /= static_cast<double>(sample.strata.size());
    above += mean >= sample.mean - slack;
    below += mean <= sample.mean + slack;
  }
  const auto share = [&](std::int64_t hits) {
    return (static_cast<double>(hits) + 1) / (static_cast<double>(options.sign_exchanges) + 1);
  };
  result.p_above = share(above);
  result.p = std::min(1.0, 2 * std::min(share(above), share(below)));
}

Difference difference_of(const Sample& sample, bool one_task, const BootstrapOptions& options) {
  Difference result;
  result.pairs = sample.pairs;
  result.discordant = sample.discordant;
  result.mean = sample.mean;
  if (sample.pairs == 0 || sample.discordant == 0) {
    if (sample.pairs >= std::max<std::int64_t>(1, options.least)) {
      const double half = std::min(points, points * rule_of_three / effective_pairs(sample));
      result.kind = IntervalKind::no_difference;
      result.interval = result.bounds = Interval{-half, half};
    }
    return result;
  }
  const PairCounts counts{sample.above, sample.below, sample.pairs};
  const bool score = one_task && sample.binary;
  if (score) {
    result.p = mcnemar_p(counts);
    result.p_above = mcnemar_p_above(counts);
  } else {
    exchange_signs(sample, options, result);
  }
  if (sample.pairs < options.least) return result;
  if (!score) {
    bootstrap(sample, options, result);
    return result;
  }
  result.kind = IntervalKind::score;
  const auto interval = [&](double tail) {
    const Interval shares = tango_interval(counts, normal_quantile(1 - tail));
    return Interval{points * shares.low, points * shares.high};
  };
  result.interval = interval(two_sided);
  result.bounds = interval(one_sided);
  return result;
}

}  // namespace

Interval tango_interval(const PairCounts& counts, double z) {
  return {tango_bound(counts, z), tango_bound(counts, -z)};
}

double mcnemar_p(const PairCounts& counts) {
  const std::int64_t fewer = std::min(counts.first_only, counts.second_only);
  return std::min(1.0, 2 * coin_tail(fewer, counts.first_only + counts.second_only));
}

double mcnemar_p_above(const PairCounts& counts) {
  return coin_tail(counts.second_only, counts.first_only + counts.second_only);
}

Difference paired_difference(const Pairs& pairs, const BootstrapOptions& options) {
  return difference_of(sample_of({&pairs, 1}), true, options);
}

Difference macro_difference(std::span<const Pairs> tasks, const BootstrapOptions& options) {
  const Sample sample = sample_of(tasks);
  return difference_of(sample, sample.strata.size() == 1, options);
}

Mean mean_of(std::span<const double> values, const BootstrapOptions& options) {
  Mean result;
  result.count = static_cast<std::int64_t>(values.size());
  if (values.empty()) return result;
  const double count = static_cast<double>(values.size());
  result.mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
  const bool all_alike = std::adjacent_find(values.begin(), values.end(), std::not_equal_to<>()) == values.end();
  if (result.count < options.least || all_alike) return result;
  const std::vector<Stratum> whole = {{{values.begin(), values.end()}, result.mean}};
  result.interval = percentiles(resampled_means(whole, options), widened_tail(two_sided, count, count - 1));
  return result;
}

std::vector<double> holm(std::span<const double> p) {
  std::vector<std::size_t> order(p.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return p[a] < p[b]; });
  std::vector<double> adjusted(p.size());
  double largest = 0;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    largest = std::max(largest, std::min(1.0, p[order[rank]] * static_cast<double>(order.size() - rank)));
    adjusted[order[rank]] = largest;
  }
  return adjusted;
}

double resolution(std::int64_t pairs, double discordant_share) {
  if (pairs < 1) return points;
  const double n = static_cast<double>(pairs);
  const auto each = static_cast<std::int64_t>(std::llround(n * discordant_share / 2));
  if (each == 0) return std::min(points, points * rule_of_three / n);
  const Interval interval = tango_interval({each, each, pairs}, normal_quantile(1 - two_sided));
  return points * 0.5 * (interval.high - interval.low);
}

std::int64_t pairs_for_margin(double margin) {
  return static_cast<std::int64_t>(std::ceil(points * rule_of_three / margin - 1e-9));
}

}  // namespace headroom::statistics
