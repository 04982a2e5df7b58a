// SPDX-License-Identifier: Apache-2.0
// What two methods' scores on the same samples say of their difference (METHOD.md, "Intervals"). Scores are points, 0
// to 100. No interval has width zero, and below 30 pairs there is none.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace headroom::statistics {

/// Fewer pairs are dots without an interval.
inline constexpr std::int64_t least_pairs = 30;

struct Interval {
  double low = 0, high = 0;
};

/// Pairs of two outcomes that are right or wrong.
struct PairCounts {
  std::int64_t first_only = 0, second_only = 0;  ///< discordant: right in one alone
  std::int64_t pairs = 0;                        ///< all of them
};

/// Tango's score interval of P(first) - P(second), as shares, with `z` standard deviations to each side (1.96: 95 %).
/// T. Tango, Statistics in Medicine 17 (1998) 891-908. At least one pair.
Interval tango_interval(const PairCounts& counts, double z);
/// Exact McNemar test: two-sided, and that first is better.
double mcnemar_p(const PairCounts& counts);
double mcnemar_p_above(const PairCounts& counts);

enum class IntervalKind {
  none,           ///< fewer than 30 pairs
  no_difference,  ///< no pair differs: 3/n to each side ("rule of three")
  score,          ///< Tango, right or wrong alone
  bootstrap       ///< graded scores, or several tasks
};

/// first - second, in points.
struct Difference {
  std::int64_t pairs = 0, discordant = 0;  ///< discordant: the two scores differ
  double mean = 0;
  IntervalKind kind = IntervalKind::none;
  std::optional<Interval> interval;  ///< two-sided 95 %
  std::optional<Interval> bounds;    ///< each of the two one-sided 95 %
  double p = 1;        ///< two-sided: exact McNemar, or exchanges of sign within pairs; of any number of pairs
  double p_above = 1;  ///< one-sided, that first is above second
};

/// One task's pairs.
struct Pairs {
  std::vector<double> first, second;  ///< of equal size
};

struct BootstrapOptions {
  int resamples = 4000, sign_exchanges = 4000;
  std::int64_t least = least_pairs;  ///< pairs below which there is no interval
  std::uint64_t seed = 20260607;
};

/// Of one task. Right or wrong (all scores 0 or 100): Tango's interval and exact McNemar. Graded: a percentile
/// bootstrap over the pairs, its tails widened as Student's t asks (Hesterberg, The American Statistician 69 (2015)
/// 371-386), and no narrower than Student's own interval or than 3/n of the largest difference that was seen; where
/// fewer than ten pairs differ, which a bootstrap does not know how to vary, no narrower than Tango's interval of the
/// signs times that difference. Empty pairs give 0 pairs.
Difference paired_difference(const Pairs& pairs, const BootstrapOptions& options = {});
/// The mean of the tasks' mean differences, each task counting alike: the same with resamples within each task. Tasks
/// without pairs are left out.
Difference macro_difference(std::span<const Pairs> tasks, const BootstrapOptions& options = {});

/// Mean with a percentile bootstrap interval as above, for figures such as KL that have no pair; none below 30 values
/// and where all are alike.
struct Mean {
  std::int64_t count = 0;
  double mean = 0;
  std::optional<Interval> interval;
};
Mean mean_of(std::span<const double> values, const BootstrapOptions& options = {});

/// Holm's step-down adjustment: p values so that any at most `alpha` is significant among all of them.
std::vector<double> holm(std::span<const double> p);

/// Half the width, in points, that `pairs` pairs give at best (no pair differs), and with that share of discordant
/// pairs evenly split, by Tango's interval.
double resolution(std::int64_t pairs, double discordant_share);
/// Pairs that a non-inferiority verdict of `margin` points needs where no pair differs: 3 / margin.
std::int64_t pairs_for_margin(double margin);

}  // namespace headroom::statistics
