// SPDX-License-Identifier: Apache-2.0
// The recorded pass's analysis against plain fp64 loops over METHOD.md's definitions.
// LibTorch before Qt, whose `slots` is a macro.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include "attention/analysis.h"
#include "layer_inputs.h"

#include <QtTest>
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

using namespace headroom;
using namespace headroom::attention;
using namespace headroom::attention::testing;

namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();  // a mean over no rows

struct Case {
  Shape shape;
  std::string policy;  ///< empty: dense
  std::string budget;
  std::map<std::string, double, std::less<>> parameters = {};
};

std::vector<std::uint32_t> bits(const std::vector<float>& values) {
  std::vector<std::uint32_t> result;
  for (const float value : values) result.push_back(std::bit_cast<std::uint32_t>(value));
  return result;
}

SupportBitmap bitmap_of(const reference::Supports& supports) {
  SupportBitmap bitmap(static_cast<std::int64_t>(supports.size()));
  for (std::size_t row = 0; row < supports.size(); ++row)
    for (const std::int64_t key : supports[row]) bitmap.set(static_cast<std::int64_t>(row), key);
  return bitmap;
}

std::vector<std::int64_t> order_of(const std::vector<double>& values) {
  std::vector<std::int64_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return values[static_cast<std::size_t>(a)] > values[static_cast<std::size_t>(b)];
  });
  return order;
}

std::size_t fewest(const std::vector<double>& p, double share) {
  std::vector<double> sorted = p;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  double sum = 0;
  std::size_t count = 0;
  while (count < sorted.size() && sum < share) sum += sorted[count++];
  return count;
}

/// [heads + 1][L][row + 1] probabilities, the last head is m.
std::vector<std::vector<std::vector<double>>> all_probabilities(const reference::Inputs& in) {
  std::vector<std::vector<std::vector<double>>> p(static_cast<std::size_t>(in.num_q_heads) + 1);
  for (std::int64_t head = 0; head <= in.num_q_heads; ++head)
    for (std::int64_t row = 0; row < in.length; ++row)
      p[static_cast<std::size_t>(head)].push_back(head < in.num_q_heads ? reference::probabilities(in, head, row)
                                                                        : reference::mass(in, row));
  return p;
}

}  // namespace

class TestAnalysis : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() { at::set_num_threads(2); }

  void equals_plain_loops() {
    const Case cases[] = {{{1, 3, 1, 16}, "oracle", "4"},
                          {{1, 2, 1, 16}, "", ""},
                          {{5, 3, 1, 16}, "oracle", "8"},
                          {{203, 3, 1, 16}, "oracle", "20"},
                          {{203, 4, 1, 64, at::kBFloat16}, "random", "25%"},
                          {{130, 2, 2, 16}, "sink_window", "16"},
                          {{97, 3, 1, 16}, "oracle", "p0.9"},
                          {{160, 3, 1, 16}, "oracle", "24", {{"sinks", 6}, {"local", 10}}},
                          {{160, 3, 1, 16}, "random", "24", {{"sinks", 6}, {"local", 10}}},
                          {{20, 3, 1, 16}, "oracle", "32"},
                          {{300, 9, 3, 64, at::kBFloat16}, "", ""}};
    for (const Case& test : cases) {
      const LayerQuery query = make_query(test.shape, 21);
      AnalysisOptions analysis;
      analysis.thumbnail_size = 32;
      std::vector<SupportBitmap> support;
      reference::Supports supports;
      if (!test.policy.empty()) {
        const Budget budget = parse_budget(test.budget);
        const auto policy = policy_of(test.policy, test.budget, 1, test.parameters);
        supports = attend(*policy, query).supports;
        analysis.forced = policy->target_forced_keys();
        support = {bitmap_of(supports)};
        if (budget.kind != BudgetKind::mass) analysis.budget_tokens = budget.tokens_for(test.shape.length);
      }
      const LayerAnalysis found = analyse_layer(query, support, analysis, {});
      check(test, query, supports, analysis, found);
    }
  }

  void the_oracle_with_forced_keys_recalls_all_that_it_could() {
    const LayerQuery query = make_query({220, 3, 1, 16}, 25);
    const auto policy = policy_of("oracle", "40", 1, {{"sinks", 12}, {"local", 20}});
    AnalysisOptions analysis;
    analysis.budget_tokens = 40;
    analysis.forced = policy->target_forced_keys();
    const LayerAnalysis found = analyse_layer(query, {bitmap_of(attend(*policy, query).supports)}, analysis, {});
    QCOMPARE(*found.oracle_recall, 1.0);
    QCOMPARE(*found.oracle_recall_95, 1.0);
    // What is missed of T is nothing; what the budget leaves out is not.
    const float* mean = found.statistics.data() + 3 * num_head_statistics;
    QCOMPARE(mean[static_cast<std::size_t>(HeadStatistic::missed_mass)], 0.0f);
    QVERIFY(mean[static_cast<std::size_t>(HeadStatistic::uncaptured_mass)] > 0.01f);
    analysis.forced = {};
    QVERIFY(*analyse_layer(query, found.support, analysis, {}).oracle_recall < 0.95);
  }

  void means_over_no_rows_are_no_numbers() {
    const LayerQuery query = make_query({20, 3, 1, 16}, 26);
    AnalysisOptions analysis;
    analysis.budget_tokens = 32;
    const auto support = bitmap_of(attend(*policy_of("oracle", "32"), query).supports);
    const LayerAnalysis found = analyse_layer(query, {support}, analysis, {});
    QVERIFY(std::isnan(found.captured_mass_mean) && std::isnan(found.captured_mass_min));
    QVERIFY(!found.oracle_recall && !found.oracle_recall_95);
    for (const HeadStatistic which :
         {HeadStatistic::captured_mass, HeadStatistic::missed_mass, HeadStatistic::uncaptured_mass})
      QVERIFY(std::isnan(found.statistics[static_cast<std::size_t>(which)]));
    QCOMPARE(found.attended_pairs, 20.0 * 21 / 2);
  }

  void repeats_and_threads_agree_bit_for_bit() {
    const LayerQuery query = make_query({500, 9, 3, 64, at::kBFloat16}, 22);
    const std::vector<SupportBitmap> support = {bitmap_of(attend(*policy_of("oracle", "32"), query).supports)};
    AnalysisOptions analysis;
    analysis.budget_tokens = 32;
    const LayerAnalysis two = analyse_layer(query, support, analysis, {});
    at::set_num_threads(1);
    const LayerAnalysis one = analyse_layer(query, support, analysis, {});
    at::set_num_threads(2);
    // By their bits: what is a mean over no rows is no number, and differs from itself.
    QCOMPARE(bits(one.statistics), bits(two.statistics));
    QCOMPARE(bits(one.curves), bits(two.curves));
    QCOMPARE(one.mass_received, two.mass_received);
    QCOMPARE(one.thumbnail_mean, two.thumbnail_mean);
    QCOMPARE(one.lse, two.lse);
    QVERIFY(*one.oracle_recall > 1 - 1e-12);
  }

  void supports_of_head_groups_are_scored_by_their_own_heads() {
    const LayerQuery query = make_query({150, 6, 2, 16}, 24);
    const reference::Inputs in = reference::inputs_of(query);
    for (const SupportScope scope : {SupportScope::kv_head, SupportScope::q_head}) {
      const std::int64_t groups = num_support_groups(scope, 6, 2), heads = 6 / groups;
      constexpr std::int64_t k = 12;
      // The best keys of each group's own mass, but one of them is left out in every row of history > k.
      std::vector<SupportBitmap> supports(static_cast<std::size_t>(groups), SupportBitmap(150));
      double captured = 0, pairs = 0;
      std::vector<double> of_heads(6);
      for (std::int64_t row = 0; row < 150; ++row) {
        for (std::int64_t group = 0; group < groups; ++group) {
          std::vector<double> mass(static_cast<std::size_t>(row + 1));
          for (std::int64_t head = group * heads; head < (group + 1) * heads; ++head) {
            const auto p = reference::probabilities(in, head, row);
            for (std::size_t key = 0; key < p.size(); ++key) mass[key] += p[key] / static_cast<double>(heads);
          }
          auto keys = reference::top_k(mass, k);
          if (row >= k) keys.erase(keys.begin() + (keys.front() == row ? 1 : 0));
          for (const std::int64_t key : keys) supports[static_cast<std::size_t>(group)].set(row, key);
          pairs += static_cast<double>(keys.size()) / static_cast<double>(groups);
          if (row < k) continue;
          for (std::int64_t head = group * heads; head < (group + 1) * heads; ++head) {
            const double share = reference::captured_mass(reference::probabilities(in, head, row), keys);
            of_heads[static_cast<std::size_t>(head)] += share / (150 - k);
            captured += share / (6.0 * (150 - k));
          }
        }
      }
      AnalysisOptions analysis;
      analysis.scope = scope;
      analysis.budget_tokens = k;
      const LayerAnalysis found = analyse_layer(query, supports, analysis, {});
      QCOMPARE(std::ssize(found.target), groups);
      QVERIFY(std::abs(found.captured_mass_mean - captured) < 1e-5);
      QVERIFY(std::abs(*found.oracle_recall - (k - 1.0) / k) < 1e-9);
      QVERIFY(std::abs(found.attended_pairs - pairs) < 1e-6);
      const auto at = static_cast<std::size_t>(HeadStatistic::captured_mass);
      for (std::size_t head = 0; head < 6; ++head)
        QVERIFY(std::abs(static_cast<double>(found.statistics[head * num_head_statistics + at]) - of_heads[head]) < 1e-5);
      QCOMPARE(std::ssize(found.selection_frequency), groups * 150);
      QVERIFY_THROWS_EXCEPTION(Error, analyse_layer(query, {supports[0]}, analysis, {}));
    }
  }

  void a_stop_ends_it_and_odd_values_do_not_crash() {
    LayerQuery query = make_query({200, 3, 1, 16}, 23);
    std::stop_source source;
    source.request_stop();
    QVERIFY_THROWS_EXCEPTION(Error, analyse_layer(query, {}, {}, JobContext{source.get_token(), {}}));
    QVERIFY_THROWS_EXCEPTION(Error, analyse_layer(query, {SupportBitmap(5)}, {}, {}));
    query.q[0][50].fill_(NAN);
    query.k[0][3].fill_(INFINITY);
    SupportBitmap support(200);
    for (std::int64_t row = 0; row < 200; ++row) support.set(row, row);
    AnalysisOptions analysis;
    analysis.budget_tokens = 1;
    QCOMPARE(analyse_layer(query, {support}, analysis, {}).attended_pairs, 200.0);
  }

  void curve_budgets_ascend_to_the_length() {
    for (const std::int64_t length : {1, 2, 63, 4096, 131072}) {
      const auto budgets = curve_budgets(length);
      QVERIFY(budgets.size() <= 64 && (length < 4096 || budgets.size() > 50));
      QCOMPARE(budgets.front(), 1);
      QCOMPARE(budgets.back(), length);
      for (std::size_t i = 1; i < budgets.size(); ++i) QVERIFY(budgets[i] > budgets[i - 1]);
    }
  }

 private:
  void check(const Case& test, const LayerQuery& query, const reference::Supports& supports,
             const AnalysisOptions& options, const LayerAnalysis& found) {
    const std::string where = test.shape.text() + " " + test.policy + " " + test.budget;
    const auto near = [&](double a, double b, double tolerance, const char* what) {
      QVERIFY2(std::abs(a - b) <= tolerance || (std::isnan(a) && std::isnan(b)),
               (where + ", " + what + ": " + std::to_string(a) + " is not " + std::to_string(b)).c_str());
    };
    const reference::Inputs in = reference::inputs_of(query);
    const auto p = all_probabilities(in);
    const auto lse = reference::dense(in).lse;
    const std::int64_t length = in.length;
    const std::size_t heads = p.size();
    const auto& mass = p.back();
    for (std::size_t i = 0; i < lse.size(); ++i) near(static_cast<double>(found.lse[i]), lse[i], 2e-5, "lse");

    // Rows that count for captured mass and recall.
    std::vector<std::size_t> long_rows;
    for (std::size_t row = 0; !supports.empty() && row < static_cast<std::size_t>(length); ++row) {
      const std::size_t k =
          options.budget_tokens ? static_cast<std::size_t>(options.budget_tokens) : supports[row].size();
      if (row + 1 > k) long_rows.push_back(row);
    }
    const auto mean_over_long = [&](auto value, double of_dense) {
      if (supports.empty()) return of_dense;
      double sum = 0;
      for (const std::size_t row : long_rows) sum += value(row);
      return sum / static_cast<double>(long_rows.size());
    };

    const auto k_of = [&](std::size_t row) {
      return options.budget_tokens ? options.budget_tokens : std::ssize(supports[row]);
    };
    const auto target_of = [&](std::size_t row) { return reference::top_k(mass[row], k_of(row), options.forced); };

    for (std::size_t head = 0; head < heads; ++head) {
      double entropy = 0, sinks = 0, local = 0, k90 = 0, k95 = 0, k99 = 0;
      for (const auto& row : p[head]) {
        for (std::size_t key = 0; key < row.size(); ++key) {
          entropy -= row[key] > 0 ? row[key] * std::log(row[key]) : 0;
          if (key < 4) sinks += row[key];
          if (key + 64 >= row.size()) local += row[key];
        }
        k90 += static_cast<double>(fewest(row, 0.90));
        k95 += static_cast<double>(fewest(row, 0.95));
        k99 += static_cast<double>(fewest(row, 0.99));
      }
      const auto n = static_cast<double>(length);
      const float* statistics = found.statistics.data() + head * num_head_statistics;
      const auto value = [&](HeadStatistic which) {
        return static_cast<double>(statistics[static_cast<std::size_t>(which)]);
      };
      near(value(HeadStatistic::entropy), entropy / n, 1e-4, "entropy");
      near(value(HeadStatistic::sink_mass), sinks / n, 1e-5, "sink mass");
      near(value(HeadStatistic::local_mass), local / n, 1e-5, "local mass");
      near(value(HeadStatistic::keys_for_90), k90 / n, 0.02, "keys for 90");
      near(value(HeadStatistic::keys_for_95), k95 / n, 0.02, "keys for 95");
      near(value(HeadStatistic::keys_for_99), k99 / n, 0.02, "keys for 99");
      const double captured = mean_over_long(
          [&](std::size_t row) { return reference::captured_mass(p[head][row], supports[row]); },
          supports.empty() ? 1.0 : none);  // dense has no k, and captures all
      near(value(HeadStatistic::captured_mass), captured, 1e-5, "captured mass");
      near(value(HeadStatistic::uncaptured_mass), 1 - captured, 1e-5, "uncaptured mass");
      const auto missed_of = [&](std::size_t row) {
        std::vector<std::int64_t> missed;
        const auto target = target_of(row);
        std::set_difference(target.begin(), target.end(), supports[row].begin(), supports[row].end(),
                            std::back_inserter(missed));
        return reference::captured_mass(p[head][row], missed);
      };
      near(value(HeadStatistic::missed_mass), mean_over_long(missed_of, 0.0), 1e-4, "missed mass");
      for (std::size_t key = 0; key < static_cast<std::size_t>(length); ++key) {
        double sum = 0;
        for (std::size_t row = key; row < static_cast<std::size_t>(length); ++row) sum += p[head][row][key];
        near(static_cast<double>(found.mass_received[head * static_cast<std::size_t>(length) + key]),
             sum / static_cast<double>(static_cast<std::size_t>(length) - key), 1e-5, "mass received");
      }
      check_curves(p[head], mass, found.curves.data() + head * 3 * curve_budgets(length).size(), near);
      check_thumbnail(p[head], options.thumbnail_size, head, found, near);
    }

    std::int64_t pairs = 0;
    for (std::int64_t row = 0; row < length; ++row)
      pairs += supports.empty() ? row + 1 : std::ssize(supports[static_cast<std::size_t>(row)]);
    QCOMPARE(found.attended_pairs, pairs);
    QCOMPARE(found.oracle_recall.has_value(), !long_rows.empty());
    QCOMPARE(found.target.empty(), supports.empty());
    if (supports.empty()) {
      QCOMPARE(found.captured_mass_min, 1.0);
      QVERIFY(found.selection_frequency.empty());
      return;
    }
    double smallest = long_rows.empty() ? NAN : 1;
    for (const std::size_t row : long_rows)
      smallest = std::min(smallest, reference::captured_mass(mass[row], supports[row]));
    near(found.captured_mass_min, smallest, 1e-5, "least captured mass");
    // Of the keys of 95 % of the mass, those that the support has over those that T has, where T has any.
    double sum_95 = 0, rows_95 = 0;
    for (const std::size_t row : long_rows) {
      std::vector<std::int64_t> order = order_of(mass[row]);
      order.resize(fewest(mass[row], 0.95));
      std::sort(order.begin(), order.end());
      const double reachable = reference::recall(target_of(row), order);
      if (reachable == 0) continue;
      sum_95 += reference::recall(supports[row], order) / reachable;
      ++rows_95;
    }
    const auto recall = [&](std::size_t row) { return reference::recall(supports[row], target_of(row)); };
    if (!long_rows.empty()) near(*found.oracle_recall, mean_over_long(recall, 1.0), 1e-3, "oracle recall");
    QCOMPARE(found.oracle_recall_95.has_value(), rows_95 > 0);
    if (rows_95 > 0) near(*found.oracle_recall_95, sum_95 / rows_95, 1e-3, "oracle recall of 95 %");
    std::size_t different = 0;
    for (std::size_t row = 0; row < mass.size(); ++row) {
      const auto target = target_of(row);
      QCOMPARE(found.target[0].count(static_cast<std::int64_t>(row), 0, length), std::ssize(target));
      for (std::int64_t key = 0; key <= static_cast<std::int64_t>(row); ++key) {
        const bool in_s = std::binary_search(supports[row].begin(), supports[row].end(), key);
        const bool in_t = std::binary_search(target.begin(), target.end(), key);
        const bool wasted =
            in_s && !in_t && mass[row][static_cast<std::size_t>(key)] < 0.1 / static_cast<double>(row + 1);
        different += found.target[0].test(static_cast<std::int64_t>(row), key) != in_t;
        different += found.wasted[0].test(static_cast<std::int64_t>(row), key) != wasted;
      }
    }
    QVERIFY2(different <= 4, where.c_str());  // keys of all but equal mass
    for (std::int64_t key = 0; key < length; ++key) {
      double count = 0;
      for (std::int64_t row = key; row < length; ++row)
        count += std::binary_search(supports[static_cast<std::size_t>(row)].begin(),
                                    supports[static_cast<std::size_t>(row)].end(), key);
      near(static_cast<double>(found.selection_frequency[static_cast<std::size_t>(key)]),
           count / static_cast<double>(length - key), 1e-6, "selection frequency");
    }
  }

  template <typename Near>
  void check_curves(const std::vector<std::vector<double>>& p, const std::vector<std::vector<double>>& mass,
                    const float* found, const Near& near) {
    const auto budgets = curve_budgets(std::ssize(p));
    const std::int64_t count = std::ssize(budgets);
    std::vector<std::vector<double>> shares(budgets.size());
    for (std::size_t row = 0; row < p.size(); ++row) {
      const auto order = order_of(mass[row]);
      for (std::size_t i = 0; i < budgets.size(); ++i) {
        if (static_cast<std::int64_t>(row) + 1 <= budgets[i]) continue;
        double sum = 0;
        for (std::int64_t j = 0; j < budgets[i]; ++j)
          sum += p[row][static_cast<std::size_t>(order[static_cast<std::size_t>(j)])];
        shares[i].push_back(sum);
      }
    }
    for (std::size_t i = 0; i < budgets.size(); ++i) {
      double mean = none, p10 = none, least = none;
      if (auto& values = shares[i]; !values.empty()) {
        std::sort(values.begin(), values.end());
        mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
        const double place = 0.1 * static_cast<double>(values.size() - 1);
        const auto low = static_cast<std::size_t>(place);
        p10 = values[low] +
              (place - static_cast<double>(low)) * (values[std::min(low + 1, values.size() - 1)] - values[low]);
        least = values.front();
      }
      // Keys of all but equal mass may stand in another order, so one head's share of a small budget may differ.
      near(static_cast<double>(found[i]), mean, 2e-3, "curve mean");
      near(static_cast<double>(found[count + static_cast<std::int64_t>(i)]), p10, 2e-3, "curve p10");
      near(static_cast<double>(found[2 * count + static_cast<std::int64_t>(i)]), least, 2e-3, "curve min");
    }
  }

  template <typename Near>
  void check_thumbnail(const std::vector<std::vector<double>>& p, std::int64_t size, std::size_t head,
                       const LayerAnalysis& found, const Near& near) {
    const std::int64_t length = std::ssize(p), cell = (length + size - 1) / size;
    for (std::int64_t i = 0; i < size; ++i) {
      for (std::int64_t j = 0; j < size; ++j) {
        double largest = 0, sum = 0;
        std::int64_t pairs = 0;
        for (std::int64_t row = i * cell; row < std::min((i + 1) * cell, length); ++row) {
          for (std::int64_t key = j * cell; key < std::min((j + 1) * cell, row + 1); ++key) {
            const double value = p[static_cast<std::size_t>(row)][static_cast<std::size_t>(key)];
            largest = std::max(largest, value);
            sum += value;
            ++pairs;
          }
        }
        const std::size_t place = head * static_cast<std::size_t>(size * size) + static_cast<std::size_t>(i * size + j);
        near(static_cast<double>(found.thumbnail_max[place]), largest, 1e-5, "thumbnail max");
        near(static_cast<double>(found.thumbnail_mean[place]), pairs ? sum / static_cast<double>(pairs) : 0, 1e-5,
             "thumbnail mean");
      }
    }
  }
};

QTEST_APPLESS_MAIN(TestAnalysis)
#include "test_analysis.moc"
