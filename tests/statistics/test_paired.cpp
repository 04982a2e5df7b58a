// SPDX-License-Identifier: Apache-2.0
// Paired intervals and tests: against the literature, against an independent computation, and by simulation.
#include <QtTest>
#include <algorithm>
#include <cmath>

#include "statistics/distributions.h"
#include "statistics/paired.h"

using namespace headroom::statistics;

namespace {

constexpr double z95 = 1.959963984540054;

/// Tango's statistic by its definition: the likeliest multinomial with this difference, found by trial.
double statistic_by_search(const PairCounts& counts, double difference) {
  const double n = static_cast<double>(counts.pairs), b = static_cast<double>(counts.first_only),
               c = static_cast<double>(counts.second_only);
  const double least = std::max(0.0, -difference), most = (1 - difference) / 2;
  const auto likelihood = [&](double second) {
    const double first = second + difference, rest = 1 - first - second;
    const auto term = [](double count, double share) {
      return count == 0 ? 0 : count * std::log(std::max(share, 1e-300));
    };
    return term(b, first) + term(c, second) + term(n - b - c, rest);
  };
  double low = least, high = most;
  for (int step = 0; step < 200; ++step) {  // it has one peak
    const double a = low + (high - low) / 3, d = high - (high - low) / 3;
    (likelihood(a) < likelihood(d) ? low : high) = likelihood(a) < likelihood(d) ? a : d;
  }
  const double second = (low + high) / 2, first = second + difference;
  return (b - c - n * difference) / std::sqrt(n * (first + second - difference * difference));
}

Pairs binary_pairs(Generator& random, int n, double first_only, double second_only, double both) {
  Pairs pairs;
  for (int i = 0; i < n; ++i) {
    const double u = random.uniform();
    const bool a = u < both + first_only,
               b = u < both || (u >= both + first_only && u < both + first_only + second_only);
    pairs.first.push_back(a ? 100 : 0);
    pairs.second.push_back(b ? 100 : 0);
  }
  return pairs;
}

/// Dense finds each of `parts` with `found`; the method keeps what dense found with `kept` and finds others with
/// `gained`.
Pairs graded_pairs(Generator& random, int n, int parts, double found, double kept, double gained) {
  Pairs pairs;
  for (int i = 0; i < n; ++i) {
    int dense = 0, method = 0;
    for (int part = 0; part < parts; ++part) {
      const bool has = random.uniform() < found;
      dense += has;
      method += random.uniform() < (has ? kept : gained);
    }
    pairs.first.push_back(100.0 * method / parts);
    pairs.second.push_back(100.0 * dense / parts);
  }
  return pairs;
}

constexpr int runs = 2000;

/// By adding up the chances of all tables.
double exact_coverage(std::int64_t n, double first_only, double second_only) {
  const auto term = [](std::int64_t count, double share) {
    return count == 0 ? 0 : static_cast<double>(count) * std::log(std::max(share, 1e-300));
  };
  const auto ways = [](std::int64_t count) { return std::lgamma(static_cast<double>(count) + 1); };
  double covered = 0;
  for (std::int64_t b = 0; b <= n; ++b) {
    for (std::int64_t c = 0; b + c <= n; ++c) {
      const std::int64_t rest = n - b - c;
      const double chance = std::exp(ways(n) - ways(b) - ways(c) - ways(rest) + term(b, first_only) +
                                     term(c, second_only) + term(rest, 1 - first_only - second_only));
      if (chance < 1e-9) continue;
      Pairs pairs;
      for (std::int64_t i = 0; i < n; ++i) {
        pairs.first.push_back(i < b ? 100 : 0);
        pairs.second.push_back(i >= b && i < b + c ? 100 : 0);
      }
      const Interval interval = *paired_difference(pairs, {.least = 1}).interval;
      const double truth = 100 * (first_only - second_only);
      if (interval.low <= truth && truth <= interval.high) covered += chance;
    }
  }
  return covered;
}

template <typename Draw>
double coverage(double truth, Draw&& draw) {
  int covered = 0;
  for (int run = 0; run < runs; ++run) {
    const Difference difference = draw();
    if (!difference.interval) qFatal("no interval");
    if (!(difference.interval->high > difference.interval->low)) qFatal("zero width");
    covered += difference.interval->low <= truth && truth <= difference.interval->high;
  }
  return static_cast<double>(covered) / runs;
}

}  // namespace

class TestPaired : public QObject {
  Q_OBJECT

 private slots:
  void distributions_are_those_of_the_tables() {
    QVERIFY(std::abs(normal_quantile(0.975) - z95) < 1e-9);
    QVERIFY(std::abs(normal_tail(1.0) - 0.841344746) < 1e-9);
    QVERIFY(std::abs(t_quantile(0.975, 10) - 2.228139) < 1e-3);
    QVERIFY(std::abs(t_quantile(0.975, 29) - 2.045230) < 1e-4);
    QVERIFY(std::abs(t_quantile(0.95, 49) - 1.676551) < 1e-4);
    QVERIFY(std::abs(coin_tail(1, 8) - 9.0 / 256) < 1e-12);
    QCOMPARE(coin_tail(-1, 8), 0.0);
    QCOMPARE(coin_tail(8, 8), 1.0);
  }

  /// Fagerland, Lydersen and Laake, Statistics in Medicine 33 (2014) 2850-2875: airway hyper-responsiveness of 21
  /// children, 1 pair right in the first alone and 7 in the second alone.
  void tango_gives_the_published_interval() {
    const Interval interval = tango_interval({1, 7, 21}, z95);
    QVERIFY2(std::abs(interval.low - -0.517) < 1e-3, qPrintable(QString::number(interval.low)));
    QVERIFY2(std::abs(interval.high - -0.026) < 1e-3, qPrintable(QString::number(interval.high)));
    QVERIFY(std::abs(mcnemar_p({1, 7, 21}) - 0.0703125) < 1e-9);
  }

  void tango_is_where_the_likeliest_tables_reach_z() {
    const PairCounts tables[] = {{1, 7, 21},    {6, 16, 161}, {0, 3, 50}, {5, 0, 40},
                                 {12, 12, 100}, {1, 0, 30},   {40, 3, 60}};
    for (const PairCounts& counts : tables) {
      const Interval interval = tango_interval(counts, z95);
      QVERIFY(std::abs(statistic_by_search(counts, interval.low) - z95) < 1e-3);
      QVERIFY(std::abs(statistic_by_search(counts, interval.high) + z95) < 1e-3);
      const double difference =
          static_cast<double>(counts.first_only - counts.second_only) / static_cast<double>(counts.pairs);
      QVERIFY(interval.low < difference && difference < interval.high);
      const Interval turned = tango_interval({counts.second_only, counts.first_only, counts.pairs}, z95);
      QVERIFY(std::abs(turned.low + interval.high) < 1e-9 && std::abs(turned.high + interval.low) < 1e-9);
    }
  }

  void no_interval_is_zero_wide_and_few_pairs_have_none() {
    const std::vector<double> right(50, 100.0);
    const Difference same = paired_difference({right, right});
    QCOMPARE(same.kind, IntervalKind::no_difference);
    QCOMPARE(same.interval->low, -6.0);  // 3/50
    QCOMPARE(same.interval->high, 6.0);
    QCOMPARE(same.p, 1.0);
    const std::vector<double> few(29, 100.0);
    QVERIFY(!paired_difference({few, few}).interval);
    QCOMPARE(paired_difference({few, few}).pairs, std::int64_t{29});
    QVERIFY(!paired_difference({}).interval);
    // One of a graded task differs: a bootstrap alone would end at 0.
    std::vector<double> first(50, 75.0);
    const std::vector<double> second = first;
    first[7] = 50;
    const Difference one = paired_difference({first, second});
    QCOMPARE(one.kind, IntervalKind::bootstrap);
    QVERIFY(one.interval->low < -0.5 && one.interval->high > 0);
    QCOMPARE(one.mean, -0.5);
    // Constant loss: resamples never vary.
    const Difference constant = paired_difference({std::vector<double>(40, 50.0), std::vector<double>(40, 75.0)});
    QVERIFY(constant.interval->high > constant.interval->low);
    QVERIFY(!mean_of(std::vector<double>(50, 0.0)).interval);
  }

  void tests_of_any_number_of_pairs() {
    Pairs graded;
    for (int i = 0; i < 12; ++i) {
      graded.first.push_back(50);
      graded.second.push_back(i < 10 ? 75 : 50);
    }
    const Difference lower = paired_difference(graded);
    QVERIFY(lower.p < 0.01 && lower.p_above > 0.99);
    QVERIFY(!lower.interval);
    const std::vector<double> p = {0.01, 0.04, 0.03};
    const std::vector<double> adjusted = holm(p);
    QVERIFY(std::abs(adjusted[0] - 0.03) < 1e-12 && std::abs(adjusted[1] - 0.06) < 1e-12 &&
            std::abs(adjusted[2] - 0.06) < 1e-12);
    QCOMPARE(pairs_for_margin(1), std::int64_t{300});
    QCOMPARE(resolution(50, 0), 6.0);
    QVERIFY(resolution(300, 0.1) < resolution(50, 0.1));
  }

  void a_macro_mean_counts_every_task_alike() {
    const std::vector<Pairs> tasks = {{std::vector<double>(100, 0.0), std::vector<double>(100, 100.0)},
                                      {std::vector<double>(10, 100.0), std::vector<double>(10, 100.0)},
                                      {}};
    QCOMPARE(macro_difference(tasks).mean, -50.0);
    QCOMPARE(macro_difference(tasks).pairs, std::int64_t{110});
    QVERIFY(!macro_difference({}).interval);
    // Nothing differs: as many pairs as count alike, twice ten.
    const std::vector<Pairs> same = {{std::vector<double>(100, 0.0), std::vector<double>(100, 0.0)},
                                     {std::vector<double>(10, 100.0), std::vector<double>(10, 100.0)}};
    QCOMPARE(macro_difference(same).interval->high, 15.0);
  }

  void intervals_repeat() {
    Generator random(3);
    const Pairs pairs = graded_pairs(random, 60, 4, 0.8, 0.9, 0.1);
    const Difference once = paired_difference(pairs), again = paired_difference(pairs);
    QCOMPARE(once.interval->low, again.interval->low);
    QCOMPARE(once.p, again.p);
  }

  void binary_intervals_cover_data() {
    QTest::addColumn<double>("first_only");
    QTest::addColumn<double>("second_only");
    QTest::newRow("alike") << 0.05 << 0.05;
    QTest::newRow("a loss") << 0.02 << 0.10;
    QTest::newRow("a great loss") << 0.05 << 0.40;
    QTest::newRow("a gain") << 0.12 << 0.02;
    QTest::newRow("rare") << 0.0 << 0.01;
    QTest::newRow("one way") << 0.0 << 0.06;
    QTest::newRow("many") << 0.25 << 0.20;
  }
  void binary_intervals_cover() {
    QFETCH(double, first_only);
    QFETCH(double, second_only);
    for (const int n : {20, 50, 100}) {
      const double exact = exact_coverage(n, first_only, second_only);
      QVERIFY2(exact >= 0.93, qPrintable(QString("n %1: %2").arg(n).arg(exact)));
      Generator random(static_cast<std::uint64_t>(n) + 1);
      const double found = coverage(100 * (first_only - second_only), [&] {
        return paired_difference(binary_pairs(random, n, first_only, second_only, 0.5),
                                 {.sign_exchanges = 0, .least = 1});
      });
      qInfo("%s, n %d: %.3f", QTest::currentDataTag(), n, found);
      QVERIFY(found >= 0.93);
    }
  }

  void graded_intervals_cover_data() {
    QTest::addColumn<int>("parts");
    QTest::addColumn<double>("kept");
    QTest::addColumn<double>("gained");
    QTest::newRow("four needles") << 4 << 0.9 << 0.1;
    QTest::newRow("four needles, rare losses") << 4 << 0.99 << 0.0;
    QTest::newRow("ten words, all differ") << 10 << 0.7 << 0.3;
    QTest::newRow("three words, losses alone") << 3 << 0.8 << 0.0;
  }
  void graded_intervals_cover() {
    QFETCH(int, parts);
    QFETCH(double, kept);
    QFETCH(double, gained);
    constexpr double found = 0.8;
    const double truth = 100 * (found * kept + (1 - found) * gained - found);
    for (const int n : {20, 50, 100}) {
      Generator random(static_cast<std::uint64_t>(n));
      const double covered = coverage(truth, [&] {
        return paired_difference(graded_pairs(random, n, parts, found, kept, gained),
                                 {.resamples = 500, .sign_exchanges = 0, .least = 1});
      });
      qInfo("%s, n %d: %.3f", QTest::currentDataTag(), n, covered);
      QVERIFY(covered >= 0.93);
    }
  }

  /// Six tasks of n samples each: two binary, four graded, one of them with rare losses.
  void macro_intervals_cover() {
    for (const int n : {20, 50, 100}) {
      Generator random(static_cast<std::uint64_t>(n));
      const double truth = (100 * (0.02 - 0.10) + 100 * (0.05 - 0.05) + 100 * (0.8 * 0.9 + 0.2 * 0.1 - 0.8) +
                            100 * (0.8 * 0.99 - 0.8) + 100 * (0.5 * 0.7 + 0.5 * 0.3 - 0.5) + 100 * (0.9 * 0.8 - 0.9)) /
                           6;
      const double covered = coverage(truth, [&] {
        const std::vector<Pairs> tasks = {
            binary_pairs(random, n, 0.02, 0.10, 0.5),   binary_pairs(random, n, 0.05, 0.05, 0.5),
            graded_pairs(random, n, 4, 0.8, 0.9, 0.1),  graded_pairs(random, n, 4, 0.8, 0.99, 0),
            graded_pairs(random, n, 10, 0.5, 0.7, 0.3), graded_pairs(random, n, 3, 0.9, 0.8, 0)};
        return macro_difference(tasks, {.resamples = 500, .sign_exchanges = 0, .least = 1});
      });
      qInfo("macro, n %d each: %.3f", n, covered);
      QVERIFY(covered >= 0.93);
    }
  }

  /// The verdict's own bound: a method that is exactly a margin below dense is called enough in about 5 of 100 sweeps.
  void a_verdict_errs_in_one_of_twenty() {
    int wrong = 0;
    Generator random(5);
    for (int run = 0; run < runs; ++run) {
      const Difference difference =
          paired_difference(binary_pairs(random, 100, 0.02, 0.05, 0.6), {.sign_exchanges = 0});
      wrong += -difference.bounds->low < 3;
    }
    QVERIFY2(wrong <= runs * 7 / 100, qPrintable(QString::number(wrong)));
  }
};

QTEST_APPLESS_MAIN(TestPaired)
#include "test_paired.moc"
