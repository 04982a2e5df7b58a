// SPDX-License-Identifier: Apache-2.0
// Every method against its definition in a few slow lines (method_reference.h), on both backends: over heads, lengths
// at the edges of blocks, budgets and granularities; pairs kept, outputs, and what a budget of everything gives.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>

#include <set>

#include "attention/triangle.h"
#include "base/error.h"
#include "method_reference.h"
// After ATen, whose names Qt's macros would take.
#include <QtTest>

using namespace headroom;
using namespace headroom::attention;
using namespace headroom::attention::testing;

namespace {

class OneStream final : public StreamSource {
 public:
  OneStream(at::Tensor q, at::Tensor k) : layer_{std::move(q), std::move(k)} {}
  const StreamLayer* find_layer(int layer) const override { return layer == 3 ? &layer_ : nullptr; }

 private:
  StreamLayer layer_;
};

class NoIndex final : public IndexSource {
 public:
  NoIndex() : weights_{at::zeros({8, 24}), at::zeros({8, 24}), at::zeros({8})} {}
  const IndexWeights* find_layer(int) const override { return &weights_; }
  std::int64_t dim() const override { return 8; }
  double norm_epsilon() const override { return 1e-6; }
  std::string layers_text() const override { return "all"; }
  std::string fingerprint() const override { return "zeros"; }

 private:
  IndexWeights weights_;
};

std::unique_ptr<Policy> method(const PolicyEntry& entry, const std::string& budget, std::int64_t granularity,
                               const LayerQuery& query, std::map<std::string, double, std::less<>> parameters = {}) {
  PolicySettings settings;
  if (!budget.empty()) settings.budget = parse_budget(budget);
  settings.granularity = granularity;
  settings.parameters = std::move(parameters);
  settings.index = std::make_shared<NoIndex>();
  settings.dense_stream = std::make_shared<OneStream>(query.q, query.k);
  return entry.make(entry.traits, settings);
}

std::int64_t granularity_of(const PolicyEntry& entry, std::int64_t wanted) {
  return entry.traits.takes_granularity ? std::max(wanted, entry.traits.least_granularity) : 1;
}

/// A choice of keys by scores, for each head group.
using ScoresOf = std::function<std::vector<Rows>(const SlowMethods& slow, const Policy& policy)>;
const std::map<std::string, ScoresOf>& ranking_methods() {
  static const std::map<std::string, ScoresOf> all = {
      {"oracle", [](const SlowMethods& slow, const Policy&) { return SlowMethods::mean_of(slow.probabilities()); }},
      {"head_oracle", [](const SlowMethods& slow, const Policy&) { return slow.probabilities(); }},
      {"static_oracle",
       [](const SlowMethods& slow, const Policy&) { return SlowMethods::mean_of(slow.probabilities()); }},
      {"value_oracle", [](const SlowMethods& slow, const Policy&) { return slow.value_mass(); }},
      {"block_topk",
       [](const SlowMethods& slow, const Policy& policy) {
         return slow.pooled(static_cast<std::int64_t>(policy.parameter("block")));
       }},
      {"quest",
       [](const SlowMethods& slow, const Policy& policy) {
         return slow.page_bounds(static_cast<std::int64_t>(policy.parameter("page")),
                                 policy.settings().granularity > 1);
       }},
      {"snapkv",
       [](const SlowMethods& slow, const Policy& policy) {
         return slow.window_votes(static_cast<std::int64_t>(policy.parameter("window")),
                                  static_cast<std::int64_t>(policy.parameter("pool")));
       }},
      {"xattention",
       [](const SlowMethods& slow, const Policy& policy) {
         return slow.antidiagonals(policy.settings().granularity,
                                   static_cast<std::int64_t>(policy.parameter("stride")));
       }},
  };
  return all;
}

std::vector<std::shared_ptr<const Backend>> both() {
  return {make_cpu_backend(at::kFloat), make_torch_backend()};
}

std::vector<reference::Supports> all_supports(const Attended& found, std::int64_t groups) {
  std::vector<reference::Supports> supports;
  for (std::int64_t group = 0; group < groups; ++group) supports.push_back(supports_of(found.tiles, group));
  return supports;
}

double output_error(const at::Tensor& out, const reference::Inputs& in,
                    const std::vector<reference::Supports>& supports) {
  return max_error(out, reference::sparse(in, supports).out);
}

}  // namespace

class TestMethods : public QObject {
  Q_OBJECT
 private slots:
  // One thread: these are many short calls. What threads change is a test of its own.
  void initTestCase() { at::set_num_threads(1); }

  void ranks_by_its_definition_data() {
    QTest::addColumn<QString>("name");
    QTest::addColumn<int>("length");
    QTest::addColumn<int>("granularity");
    for (const auto& [name, scores] : ranking_methods()) {
      const PolicyTraits& traits = find_policy(name)->traits;
      for (const int granularity : {1, 4, 16, 64, 128})
        for (const int length : {1, 2, 15, 16, 17, 63, 64, 65, 127, 129, 257}) {
          if (granularity > 1 && !traits.takes_granularity) continue;
          if (granularity < traits.least_granularity) continue;
          const bool edge = std::abs(length - granularity) <= 1 || (length == 257 && granularity != 4);
          if (granularity > 1 && !edge) continue;
          QTest::addRow("%s L %d, %d rows", name.c_str(), length, granularity)
              << QString::fromStdString(name) << length << granularity;
        }
    }
  }
  void ranks_by_its_definition() {
    QFETCH(QString, name);
    QFETCH(int, length);
    QFETCH(int, granularity);
    const PolicyEntry& entry = *find_policy(name.toStdString());
    for (const auto& [heads, kv_heads] : {std::pair{1, 1}, std::pair{4, 2}}) {
      if (heads == 1 && length != 65) continue;
      const LayerQuery query = make_query({length, heads, kv_heads, 16}, 51);
      const SlowMethods slow(query);
      const auto scores = ranking_methods().at(name.toStdString())(slow, *method(entry, "1", granularity, query));
      for (const std::string budget : {"1", "20", "33%", "p0.7"}) {
        if (budget[0] == 'p' && !entry.traits.takes_mass_budget) continue;
        const auto policy = method(entry, budget, granularity, query);
        for (const auto& backend : both()) {
          const std::string where = policy->id() + " on " + backend->id() + " of " + std::to_string(heads) + " heads";
          const Attended found = attend(*policy, query, *backend);
          const auto supports = all_supports(found, std::ssize(scores));
          QCOMPARE(num_support_groups(entry.traits.scope, heads, kv_heads), std::ssize(scores));
          for (std::size_t group = 0; group < scores.size(); ++group) {
            const std::string wrong =
                judge_choice(supports[group], scores[group], parse_budget(budget), granularity, policy->forced_keys());
            QVERIFY2(wrong.empty(), (where + ", group " + std::to_string(group) + ", " + wrong).c_str());
          }
          QVERIFY2(output_error(found.out, slow.in, supports) < 2e-5, where.c_str());
        }
      }
    }
  }

  // What the scores of one method must not be: those of another.
  void methods_differ() {
    const LayerQuery query = make_query({257, 6, 2, 16}, 52);
    std::set<reference::Supports> seen;
    for (const PolicyEntry& entry : policies()) {
      // A dense run's own stream has the oracle's keys, a mix's layer is a triangle, and a head of lines is what
      // vertical_slash would make of it.
      const std::set<std::string_view> alike = {"static_oracle", "triangle_mix", "flex_prefill"};
      if (entry.traits.is_dense() || alike.contains(entry.traits.name)) continue;
      const auto policy = method(entry, "40", granularity_of(entry, 1), query);
      QVERIFY2(seen.insert(attend(*policy, query).supports).second, policy->id().c_str());
    }
  }

  void a_static_oracle_follows_the_other_stream() {
    const LayerQuery query = make_query({200, 6, 2, 16}, 53), other = make_query({200, 6, 2, 16}, 54);
    PolicySettings settings;
    settings.budget = parse_budget("30");
    settings.dense_stream = std::make_shared<OneStream>(other.q, other.k);
    const auto policy = make_policy("static_oracle", settings);
    const Attended expected = attend(*policy_of("oracle", "30"), other);
    for (const auto& backend : both()) {
      const Attended found = attend(*policy, query, *backend);
      std::size_t different = 0;
      for (std::size_t row = 0; row < found.supports.size(); ++row)
        different += found.supports[row] != expected.supports[row];
      QVERIFY(different <= 1);
      QVERIFY(output_error(found.out, reference::inputs_of(query), {found.supports}) < 2e-5);
    }
    settings.dense_stream.reset();
    QVERIFY_THROWS_EXCEPTION(Error, make_policy("static_oracle", settings));
  }

  void triangles_keep_as_many_pairs_as_their_budget() {
    for (const std::int64_t length : {1, 2, 15, 16, 17, 64, 257, 1000})
      for (const std::int64_t tokens : {1, 2, 5, 16, 100, 256, 257, 2000})
        for (const std::int64_t last : {0, 1, 16, 64, 5000}) {
          const TriangleShape shape = triangle_shape(length, tokens, last);
          std::int64_t pairs = 0, budget = 0, one_more = 0;
          for (std::int64_t row = 0; row < length; ++row) {
            const bool whole = row >= length - shape.whole_rows;
            pairs += whole ? row + 1 : std::min(shape.keys, row + 1);
            one_more += whole ? row + 1 : std::min(shape.keys + 1, row + 1);
            budget += std::min(tokens, row + 1);
          }
          const QString where = QString("L %1 k %2 last %3").arg(length).arg(tokens).arg(last);
          QVERIFY2(pairs <= budget && (one_more > budget || shape.keys >= length - shape.whole_rows),
                   qPrintable(where));
          QVERIFY2(shape.keys >= 1 && shape.whole_rows <= std::min(last, length), qPrintable(where));
          if (tokens >= length) QCOMPARE(pairs, budget);
        }
  }

  void triangles_are_sinks_window_and_last_rows() {
    LayerQuery query = make_query({257, 4, 2, 16}, 55);
    query.num_layers = 6;  // the query's is 3: of the second half
    const SlowMethods slow(query);
    for (const char* name : {"tri_shape", "triangle_mix"})
      for (const std::int64_t tokens : {1, 5, 40, 300}) {
        const auto policy = method(*find_policy(name), std::to_string(tokens), 1, query, {{"last", 9}});
        const TriangleShape shape = triangle_shape(257, tokens, 9);
        reference::Supports expected;
        for (std::int64_t row = 0; row < 257; ++row) {
          if (row >= 257 - shape.whole_rows || row < shape.keys) {
            expected.push_back(SlowMethods::history(row));
            continue;
          }
          std::vector<std::int64_t> keys;
          const std::int64_t sinks = std::min<std::int64_t>(4, shape.keys - 1);
          for (std::int64_t key = 0; key <= row; ++key)
            if (key < sinks || key > row - (shape.keys - sinks)) keys.push_back(key);
          expected.push_back(keys);
        }
        for (const auto& backend : both()) {
          const Attended found = attend(*policy, query, *backend);
          QVERIFY2(found.supports == expected, policy->id().c_str());
          QVERIFY(output_error(found.out, slow.in, {expected}) < 2e-5);
        }
      }
    query.num_layers = 7;  // now it is of the first
    QVERIFY(attend(*method(*find_policy("triangle_mix"), "5", 1, query), query).tiles.empty());
    QVERIFY(!attend(*method(*find_policy("triangle_mix"), "5", 1, query, {{"dense", 0}}), query).tiles.empty());
  }

  void vertical_slash_is_lines() {
    for (const std::int64_t length : {1, 2, 63, 64, 65, 257}) {
      const LayerQuery query = make_query({length, 6, 2, 16}, 56);
      const SlowMethods slow(query);
      for (const std::int64_t tokens : {1, 2, 20, 100})
        for (const double share : {0.0, 0.5, 1.0}) {
          const auto policy = method(*find_policy("vertical_slash"), std::to_string(tokens), 1, query,
                                     {{"window", 24}, {"vertical", share}});
          const auto expected = slow.vertical_slash(tokens, 24, share);
          for (const auto& backend : both()) {
            const Attended found = attend(*policy, query, *backend);
            QVERIFY2(all_supports(found, 6) == expected, (policy->id() + " L " + std::to_string(length)).c_str());
            QVERIFY(output_error(found.out, slow.in, expected) < 2e-5);
            for (const auto& head : expected)
              for (const auto& row : head) QVERIFY(std::ssize(row) <= tokens && !row.empty());
          }
        }
    }
  }

  void flex_prefill_chooses_a_pattern_for_each_head() {
    int by_blocks = 0, by_lines = 0;
    for (const std::int64_t length : {1, 63, 64, 65, 257}) {
      LayerQuery query = make_query({length, 6, 2, 16}, 57);
      // Neighbouring queries and keys that agree are what mean queries and keys predict.
      for (std::int64_t row = 0; row < length; ++row) {
        query.q.narrow(0, 3, 3).select(1, row).copy_(query.q.narrow(0, 3, 3).select(1, row / 64 * 64));
        query.k[1][row].copy_(query.k[1][row / 64 * 64].mul(0.5));
      }
      const SlowMethods slow(query);
      for (const std::string budget : {"1", "20", "100", "p0.5", "p0.9"})
        for (const std::int64_t block : {64, 128}) {
          const Budget wanted = parse_budget(budget);
          const auto policy = method(*find_policy("flex_prefill"), budget, block, query);
          const double share = wanted.kind == BudgetKind::mass ? wanted.value : 0;
          int blocks_used = 0;
          const auto expected =
              slow.flex_prefill(share > 0 ? 0 : wanted.tokens_for(length), share, block, 0.1, blocks_used);
          by_blocks += blocks_used;
          by_lines += 6 - blocks_used;
          for (const auto& backend : both()) {
            const Attended found = attend(*policy, query, *backend);
            const auto supports = all_supports(found, 6);
            for (std::size_t head = 0; head < 6; ++head)
              for (std::size_t row = 0; row < expected[head].size(); ++row)
                QVERIFY2(supports[head][row] == expected[head][row],
                         qPrintable(QString("%1 on %2, L %3, head %4, row %5: %6 keys, %7 expected")
                                        .arg(policy->id().c_str(), backend->id().c_str())
                                        .arg(length)
                                        .arg(head)
                                        .arg(row)
                                        .arg(supports[head][row].size())
                                        .arg(expected[head][row].size())));
            QVERIFY(output_error(found.out, slow.in, expected) < 2e-5);
          }
        }
    }
    QVERIFY(by_blocks > 0 && by_lines > 0);
  }

  void a_budget_of_everything_is_dense_data() {
    QTest::addColumn<QString>("name");
    for (const PolicyEntry& entry : policies())
      if (!entry.traits.is_dense())
        QTest::addRow("%s", std::string(entry.traits.name).c_str())
            << QString::fromStdString(std::string(entry.traits.name));
  }
  void a_budget_of_everything_is_dense() {
    QFETCH(QString, name);
    const PolicyEntry& entry = *find_policy(name.toStdString());
    for (const Shape& shape : {Shape{1, 4, 2, 16}, Shape{64, 4, 2, 16}, Shape{257, 6, 2, 64, at::kBFloat16}}) {
      const LayerQuery query = make_query(shape, 58);
      for (const auto& backend : both()) {
        const at::Tensor dense = attend(*policy_of("dense"), query, *backend).out;
        for (const std::string& budget : {std::to_string(shape.length), std::string("5000"), std::string("100%")})
          for (const std::int64_t granularity : {1, 16, 128}) {
            if (granularity > 1 && granularity != granularity_of(entry, granularity)) continue;
            const auto policy = method(entry, budget, granularity_of(entry, granularity), query);
            const Attended found = attend(*policy, query, *backend);
            QVERIFY2(at::equal(found.out, dense), (policy->id() + " " + shape.text()).c_str());
            for (const auto& bitmap : to_bitmaps(found.tiles, shape.length))
              QCOMPARE(bitmap.count_all(), shape.length * (shape.length + 1) / 2);
          }
        if (!entry.traits.takes_mass_budget) continue;
        const at::Tensor all = attend(*method(entry, "p1", granularity_of(entry, 1), query), query, *backend).out;
        const double error = all.sub(dense).abs().max().item<double>();
        QVERIFY2(error < (shape.dtype == at::kBFloat16 ? 0.02 : 1e-5), (name.toStdString() + " p1").c_str());
      }
    }
  }

  // Rows keep what the method promises: exactly k, or at most k; on average k for the triangles.
  void pairs_are_those_of_the_budget() {
    LayerQuery query = make_query({300, 6, 2, 16}, 59);
    for (const PolicyEntry& entry : policies()) {
      if (entry.traits.is_dense()) continue;
      const auto policy = method(entry, "50", granularity_of(entry, 1), query);
      const Attended found = attend(*policy, query);
      const auto groups = num_support_groups(entry.traits.scope, 6, 2);
      const auto bitmaps = to_bitmaps(found.tiles, 300);
      QCOMPARE(std::ssize(bitmaps), groups);
      const std::int64_t budget = 50 * 51 / 2 + 250 * 50;
      for (const SupportBitmap& bitmap : bitmaps) {
        QVERIFY2(bitmap.count_all() <= budget, policy->id().c_str());
        const bool exact = ranking_methods().contains(std::string(entry.traits.name)) ||
                           entry.traits.name == "random" || entry.traits.name == "sink_window" ||
                           entry.traits.name == "indexer";
        if (exact) QCOMPARE(bitmap.count_all(), budget);
        for (std::int64_t row = 0; row < 300; ++row) QVERIFY(bitmap.test(row, row));
      }
    }
  }

  void causality_is_as_declared() {
    const LayerQuery query = make_query({256, 6, 2, 16}, 60);
    LayerQuery changed = query;
    changed.q = query.q.clone();
    changed.k = query.k.clone();
    changed.v = query.v.clone();
    const LayerQuery other = make_query({256, 6, 2, 16}, 61);
    for (at::Tensor LayerQuery::*part : {&LayerQuery::q, &LayerQuery::k, &LayerQuery::v})
      (changed.*part).narrow(1, 200, 56).copy_((other.*part).narrow(1, 200, 56));
    for (const PolicyEntry& entry : policies()) {
      if (entry.traits.is_dense()) continue;
      for (const std::int64_t granularity : {1, 128}) {
        if (granularity > 1 && !entry.traits.takes_granularity) continue;
        const auto policy = method(entry, "40", granularity_of(entry, granularity), query);
        const auto after = method(entry, "40", granularity_of(entry, granularity), changed);
        const auto groups = num_support_groups(entry.traits.scope, 6, 2);
        const auto before = all_supports(attend(*policy, query), groups);
        const auto later = all_supports(attend(*after, changed), groups);
        bool same = true;
        for (std::size_t group = 0; group < before.size(); ++group)
          for (std::size_t row = 0; row < 200; ++row) same = same && before[group][row] == later[group][row];
        // Triangles know where the prompt ends, not what stands there.
        const bool shape_alone = entry.traits.score == ScoreKind::none;
        if (policy->causal()) QVERIFY2(same, policy->id().c_str());
        if (!policy->causal() && !shape_alone && entry.traits.name != "indexer") QVERIFY2(!same, policy->id().c_str());
      }
    }
  }

  void settings_of_methods_are_checked() {
    const LayerQuery query = make_query({20, 2, 1, 16}, 62);
    const auto refused = [&](const char* name, const char* budget, std::int64_t granularity,
                             std::map<std::string, double, std::less<>> parameters = {}) {
      try {
        method(*find_policy(name), budget, granularity, query, std::move(parameters));
      } catch (const Error& error) {
        return error.kind() == ErrorKind::usage;
      }
      return false;
    };
    QVERIFY(refused("xattention", "20", 1) && refused("xattention", "20", 32) && !refused("xattention", "20", 64));
    QVERIFY(refused("xattention", "20", 64, {{"stride", 7}}) && !refused("xattention", "20", 64, {{"stride", 16}}));
    QVERIFY(refused("snapkv", "20", 1, {{"pool", 4}}) && refused("snapkv", "20", 16) && refused("snapkv", "p0.9", 1));
    QVERIFY(refused("flex_prefill", "20", 1) && !refused("flex_prefill", "p0.9", 128));
    QVERIFY(refused("tri_shape", "20", 16) && refused("tri_shape", "p0.9", 1) && refused("vertical_slash", "20", 4));
    QVERIFY(refused("value_oracle", "p0.9", 1) && refused("quest", "p0.9", 1) && refused("block_topk", "p0.9", 1));
    for (const PolicyEntry& entry : policies())
      QVERIFY2(!entry.traits.definition.empty() && !entry.traits.source.empty() && !entry.traits.cost.empty(),
               std::string(entry.traits.name).c_str());
  }

  void inputs_that_are_not_finite_do_not_crash_methods() {
    LayerQuery query = make_query({150, 4, 2, 16}, 63);
    query.q[0][70].fill_(std::numeric_limits<double>::quiet_NaN());
    query.q[1][149].fill_(std::numeric_limits<double>::quiet_NaN());
    query.k[0][3].fill_(std::numeric_limits<double>::infinity());
    query.v[0][5].fill_(std::numeric_limits<double>::infinity());
    for (const PolicyEntry& entry : policies())
      for (const auto& backend : both()) {
        if (entry.traits.is_dense()) continue;
        for (const char* budget : {"16", "p0.9"}) {
          if (budget[0] == 'p' && !entry.traits.takes_mass_budget) continue;
          const auto policy = method(entry, budget, granularity_of(entry, 1), query);
          const Attended found = attend(*policy, query, *backend);
          for (std::size_t row = 0; row < 150; ++row)
            QCOMPARE(found.supports[row].back(), static_cast<std::int64_t>(row));
        }
      }
  }

  void methods_do_not_depend_on_threads() {
    const LayerQuery query = make_query({200, 6, 2, 64, at::kBFloat16}, 64);
    for (const PolicyEntry& entry : policies()) {
      const auto policy =
          entry.traits.is_dense() ? policy_of("dense") : method(entry, "48", granularity_of(entry, 1), query);
      at::set_num_threads(2);
      const Attended two = attend(*policy, query);
      at::set_num_threads(1);
      const Attended one = attend(*policy, query);
      QVERIFY2(one.out.equal(two.out), policy->id().c_str());
      QCOMPARE(one.supports, two.supports);
    }
  }
};

QTEST_APPLESS_MAIN(TestMethods)
#include "test_methods.moc"
