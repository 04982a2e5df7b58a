// SPDX-License-Identifier: Apache-2.0
// Every policy against the fp64 reference: supports, outputs, ties, forced keys, blocks, mass budgets, threads.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/zeros.h>

#include <QtTest>
#include <limits>
#include <set>

#include "attention/policy.h"
#include "attention/reference.h"
#include "attention/backends/cpu_backend.h"
#include "attention/backends/torch_backend.h"
#include "base/error.h"
#include "layer_inputs.h"

using namespace headroom;
using namespace headroom::attention;
using namespace headroom::attention::testing;

namespace {

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> all = {{1, 3, 3, 16},
                                         {2, 4, 1, 64, at::kBFloat16},
                                         {37, 9, 3, 64, at::kBFloat16},
                                         {129, 4, 1, 16},
                                         {161, 2, 2, 128},
                                         {95, 4, 1, 256, at::kBFloat16},
                                         {200, 9, 3, 64},
                                         {333, 3, 1, 64, at::kBFloat16}};
  return all;
}

/// Forced keys of a policy that has them as parameters; sinks and a window have the latest keys in any case.
std::map<std::string, double, std::less<>> forced_of(const std::string& name, double sinks, double local) {
  if (name == "sink_window") return {{"sinks", sinks}};
  return {{"sinks", sinks}, {"local", local}};
}

/// Empty, or where the supports differ in more than keys of equal score (1e-5 relative).
std::string compare(const reference::Supports& found, const reference::Supports& expected,
                    const std::vector<std::vector<double>>& scores, std::int64_t granularity) {
  if (found.size() != expected.size()) return "wrong number of rows";
  for (std::size_t row = 0; row < found.size(); ++row) {
    if (found[row] == expected[row]) continue;
    if (found[row].size() != expected[row].size()) return "row " + std::to_string(row) + ": wrong count";
    const std::vector<double> shared = reference::shared_scores(scores, static_cast<std::int64_t>(row), granularity);
    std::vector<std::int64_t> extra, missing;
    std::set_difference(found[row].begin(), found[row].end(), expected[row].begin(), expected[row].end(),
                        std::back_inserter(extra));
    std::set_difference(expected[row].begin(), expected[row].end(), found[row].begin(), found[row].end(),
                        std::back_inserter(missing));
    for (const std::int64_t a : extra)
      for (const std::int64_t b : missing)
        if (std::abs(shared[static_cast<std::size_t>(a)] - shared[static_cast<std::size_t>(b)]) >
            1e-5 * shared[static_cast<std::size_t>(b)])
          return "row " + std::to_string(row) + ": key " + std::to_string(a) + " instead of " + std::to_string(b);
  }
  return {};
}

std::vector<std::vector<double>> masses(const reference::Inputs& in) {
  std::vector<std::vector<double>> rows;
  for (std::int64_t row = 0; row < in.length; ++row) rows.push_back(reference::mass(in, row));
  return rows;
}

class CountingClock : public StageClock {
 public:
  void begin(Stage stage, int layer) override {
    nested |= open;
    open = true;
    seen.insert(stage);
    layers.insert(layer);
  }
  void end() override { open = false; }
  void split(Stage stage, double share) override {
    nested |= !open || share < 0 || share > 1;
    seen.insert(stage);
  }
  bool open = false, nested = false;
  std::set<Stage> seen;
  std::set<int> layers;
};

}  // namespace

class TestPolicies : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() { at::set_num_threads(2); }

  void dense_is_as_exact_as_libtorch() {
    for (const Shape& shape : shapes()) {
      const LayerQuery query = make_query(shape, 1);
      const reference::Outputs expected = reference::dense(reference::inputs_of(query));
      const at::Tensor out = attend(*policy_of("dense"), query).out;
      QCOMPARE(out.scalar_type(), shape.dtype);
      reference::Supports all;
      for (std::int64_t row = 0; row < shape.length; ++row) {
        all.emplace_back();
        for (std::int64_t key = 0; key <= row; ++key) all.back().push_back(key);
      }
      const double allowed = 2 * max_error(same_precision(query, all), expected.out) + 1e-6;
      QVERIFY2(max_error(out, expected.out) <= allowed, shape.text().c_str());
    }
  }

  void long_dense_prompts_are_split_without_a_trace() {
    // More work than one call may take: one head a thread, then one head in query chunks.
    for (const Shape& shape : {Shape{4600, 2, 1, 256}, Shape{6300, 1, 1, 256}}) {
      const LayerQuery query = make_query(shape, 2);
      const at::Tensor out = attend(*policy_of("dense"), query).out;
      const std::int64_t head = shape.num_q_heads - 1;
      for (const std::int64_t row : {std::int64_t{0}, std::int64_t{511}, std::int64_t{1500}, shape.length - 1}) {
        const at::Tensor k = query.k[0].narrow(0, 0, row + 1).to(at::kDouble);
        const at::Tensor v = query.v[0].narrow(0, 0, row + 1).to(at::kDouble);
        const at::Tensor scores = at::matmul(k, query.q[head][row].to(at::kDouble)).mul(query.scale);
        const at::Tensor expected = at::matmul(at::softmax(scores, 0), v);
        const double error = expected.sub(out[head][row]).abs().max().item<double>();
        QVERIFY2(error < 1e-5, qPrintable(QString("row %1: %2").arg(row).arg(error)));
      }
    }
  }

  void oracle_supports_and_outputs_match_the_reference() {
    for (const Shape& shape : shapes()) {
      const LayerQuery query = make_query(shape, 3);
      const reference::Inputs in = reference::inputs_of(query);
      const auto scores = masses(in);
      for (const std::string budget : {"1", "16", "33%", "1000", "p0.9"}) {
        for (const std::int64_t granularity : {1, 16}) {
          const auto policy = policy_of("oracle", budget, granularity);
          const Attended found = attend(*policy, query);
          const auto expected = reference::select(scores, parse_budget(budget), granularity);
          const std::string where = shape.text() + " budget " + budget + " B " + std::to_string(granularity);
          QVERIFY2(compare(found.supports, expected, scores, granularity).empty(),
                   (where + ": " + compare(found.supports, expected, scores, granularity)).c_str());
          const reference::Outputs outputs = reference::sparse(in, found.supports);
          const double allowed = 2 * max_error(same_precision(query, found.supports), outputs.out) + 1e-6;
          QVERIFY2(max_error(found.out, outputs.out) <= allowed, where.c_str());
        }
      }
    }
  }

  void forced_keys_count_against_the_budget() {
    const LayerQuery query = make_query({150, 3, 1, 16}, 4);
    const auto scores = masses(reference::inputs_of(query));
    for (const std::string name : {"oracle", "sink_window", "random"}) {
      for (const std::string budget : {"3", "12", "40"}) {
        const auto policy = policy_of(name, budget, 1, forced_of(name, 4, 8));
        const auto supports = attend(*policy, query).supports;
        const ForcedKeys forced{4, 8};
        // Too many for the budget (a run refuses it): the row's own, the first ones, then the newest.
        if (budget == "3") {
          QCOMPARE(supports[100], (std::vector<std::int64_t>{0, 1, 100}));
          const auto newest = attend(*policy_of(name, budget, 1, forced_of(name, 1, 8)), query).supports;
          QCOMPARE(newest[100], (std::vector<std::int64_t>{0, 99, 100}));
        }
        for (std::size_t row = 0; row < supports.size(); ++row) {
          const auto history = static_cast<std::int64_t>(row) + 1;
          const std::int64_t k = policy->settings().budget->tokens_for(150);
          QCOMPARE(static_cast<std::int64_t>(supports[row].size()), std::min(k, history));
          QVERIFY(supports[row].back() == history - 1);
          if (k >= 12) {
            for (std::int64_t key = 0; key < history; ++key)
              if (key < 4 || key >= history - 8)
                QVERIFY(std::binary_search(supports[row].begin(), supports[row].end(), key));
          }
        }
        if (name == "oracle")
          QVERIFY(compare(supports, reference::select(scores, parse_budget(budget), 1, forced), scores, 1).empty());
      }
    }
    const auto shared = policy_of("oracle", "p0.5", 8, {{"sinks", 2}, {"local", 3}});
    QVERIFY(compare(attend(*shared, query).supports, reference::select(scores, parse_budget("p0.5"), 8, {2, 3}), scores, 8)
                .empty());
  }

  void equal_scores_go_to_the_lower_position() {
    LayerQuery query = make_query({140, 4, 1, 16}, 5);
    query.q.zero_();  // every mass is 1 / history
    const auto supports = attend(*policy_of("oracle", "20"), query).supports;
    for (std::size_t row = 20; row < supports.size(); ++row) {
      for (std::int64_t i = 0; i < 19; ++i) QCOMPARE(supports[row][static_cast<std::size_t>(i)], i);
      QCOMPARE(supports[row][19], static_cast<std::int64_t>(row));
    }
    // Duplicate keys have equal computed scores too, wherever they stand in a tile.
    query = make_query({140, 4, 1, 64, at::kBFloat16}, 6);
    for (std::int64_t key = 0; key + 1 < 140; key += 2) query.k.select(1, key + 1).copy_(query.k.select(1, key));
    const auto twins = attend(*policy_of("oracle", "21"), query).supports;
    for (std::size_t row = 21; row < twins.size(); ++row)
      for (const std::int64_t key : twins[row])
        if (key % 2 == 1 && key != static_cast<std::int64_t>(row))
          QVERIFY(std::binary_search(twins[row].begin(), twins[row].end(), key - 1));
  }

  void sink_window_is_sinks_and_the_latest_keys() {
    const LayerQuery query = make_query({100, 2, 1, 16}, 7);
    const auto supports = attend(*policy_of("sink_window", "10"), query).supports;
    for (std::int64_t row = 10; row < 100; ++row) {
      std::vector<std::int64_t> expected = {0, 1, 2, 3};
      for (std::int64_t key = row - 5; key <= row; ++key) expected.push_back(key);
      QCOMPARE(supports[static_cast<std::size_t>(row)], expected);
    }
    QVERIFY_THROWS_EXCEPTION(Error, policy_of("sink_window", "10", 32));  // it would change nothing but the id
  }

  void random_is_uniform_and_depends_on_seed_and_layer() {
    LayerQuery query = make_query({600, 2, 1, 16}, 8);
    const auto first = attend(*policy_of("random", "60"), query).supports;
    QCOMPARE(attend(*policy_of("random", "60"), query).supports, first);
    std::vector<int> hits(6);
    for (std::size_t row = 300; row < 600; ++row) {
      QCOMPARE(first[row].size(), std::size_t{60});
      QCOMPARE(first[row].back(), static_cast<std::int64_t>(row));
      for (const std::int64_t key : first[row])
        if (key < 300) ++hits[static_cast<std::size_t>(key / 50)];
    }
    for (const int count : hits) QVERIFY2(std::abs(count - hits[0]) < 0.1 * hits[0], std::to_string(count).c_str());
    QVERIFY(attend(*policy_of("random", "60", 1, {{"seed", 1}}), query).supports != first);
    query.layer = 4;
    QVERIFY(attend(*policy_of("random", "60"), query).supports != first);
    const auto shared = attend(*policy_of("random", "60", 8), query).supports;
    for (std::size_t row = 304; row < 311; ++row) {  // one block: all but the own key and one more are shared
      std::vector<std::int64_t> common;
      std::set_intersection(shared[row].begin(), shared[row].end(), shared[311].begin(), shared[311].end(),
                            std::back_inserter(common));
      QVERIFY(common.size() >= 50);
    }
  }

  void results_do_not_depend_on_threads_or_repeats() {
    const LayerQuery query = make_query({700, 9, 3, 64, at::kBFloat16}, 9);
    for (const std::string name : {"dense", "oracle", "random"}) {
      const auto policy = policy_of(name, name == "dense" ? "" : "64");
      const Attended two = attend(*policy, query);
      QVERIFY(attend(*policy, query).out.equal(two.out));
      at::set_num_threads(1);
      const Attended one = attend(*policy, query);
      at::set_num_threads(2);
      QVERIFY2(one.out.equal(two.out), name.c_str());
      QCOMPARE(one.supports, two.supports);
    }
  }

  void tensor_operators_select_like_the_cpu_kernel() {
    std::mt19937 random(10);
    for (const std::string budget : {"1", "7", "40", "p0.8"}) {
      for (const std::int64_t granularity : {1, 8}) {
        for (const ForcedKeys forced : {ForcedKeys{0, 1}, ForcedKeys{3, 5}}) {
          SelectionRule rule{parse_budget(budget), granularity, forced};
          at::Tensor scores = random_tensor({2, 64, 128}, random).abs_();
          scores[0].narrow(1, 20, 40).fill_(0.5);
          if (granularity == 1) scores[0][5].narrow(0, 10, 9).fill_(std::numeric_limits<double>::quiet_NaN());
          SupportTile mask;
          mask.row_begin = 64;
          mask.row_end = 128;
          mask.groups = 2;
          mask.mask = select_mask(scores, 64, rule, rule.tokens(128));
          std::vector<at::Tensor> tiles = {scores.narrow(1, 0, 32).narrow(2, 0, 96).contiguous(),
                                           scores.narrow(1, 32, 32).contiguous()};
          const SupportTile kernel = select_rows(tiles, 64, 128, 32, rule, rule.tokens(128), {});
          for (const std::int64_t group : {0, 1}) QCOMPARE(supports_of({mask}, group), supports_of({kernel}, group));
        }
      }
    }
  }

  void inputs_that_are_not_finite_do_not_crash() {
    LayerQuery query = make_query({90, 4, 1, 16}, 11);
    query.q[0][70].fill_(std::numeric_limits<double>::quiet_NaN());
    query.k[0][3].fill_(std::numeric_limits<double>::infinity());
    query.v[0][5].fill_(std::numeric_limits<double>::infinity());
    for (const std::string name : {"dense", "oracle", "sink_window", "random"}) {
      const Attended found = attend(*policy_of(name, name == "dense" ? "" : "16"), query);
      QVERIFY(found.out.sizes() == query.q.sizes());
      for (std::size_t row = 0; row < found.supports.size(); ++row) {
        QCOMPARE(found.supports[row].size(), std::min<std::size_t>(16, row + 1));
        QCOMPARE(found.supports[row].back(), static_cast<std::int64_t>(row));
      }
    }
    QVERIFY(!attend(*policy_of("oracle", "p0.9"), query).supports.empty());
  }

  void stages_are_timed_one_after_the_other() {
    const LayerQuery query = make_query({400, 2, 1, 16}, 12);
    CountingClock clock;
    attention::attend(*policy_of("oracle", "40"), *make_cpu_backend(), query, clock, {}, {});
    QVERIFY(!clock.nested);
    QVERIFY(!clock.open);
    QCOMPARE(clock.seen, (std::set<Stage>{Stage::score, Stage::select, Stage::attention}));
    QCOMPARE(clock.layers, std::set<int>{3});
    CountingClock dense;
    attention::attend(*policy_of("dense"), *make_cpu_backend(), query, dense, {}, {});
    QCOMPARE(dense.seen, std::set<Stage>{Stage::attention});
  }

  void a_stop_ends_it() {
    const LayerQuery query = make_query({3000, 2, 1, 16}, 13);
    std::stop_source source;
    StageClock clock;
    JobContext job{source.get_token(), {}};
    int tiles = 0;
    const auto sink = [&](const SupportTile&) {
      if (++tiles == 1) source.request_stop();
    };
    try {
      attention::attend(*policy_of("oracle", "10"), *make_cpu_backend(), query, clock, sink, job);
      QFAIL("not cancelled");
    } catch (const Error& error) {
      QCOMPARE(error.kind(), ErrorKind::cancelled);
    }
    QVERIFY_THROWS_EXCEPTION(Error,
                             attention::attend(*policy_of("dense"), *make_cpu_backend(), query, clock, {}, job));
  }

  void settings_are_checked() {
    const auto refused = [](const std::string& name, const std::string& budget, std::int64_t granularity = 1,
                            std::map<std::string, double, std::less<>> parameters = {}) {
      try {
        policy_of(name, budget, granularity, std::move(parameters));
      } catch (const Error& error) {
        return error.kind() == ErrorKind::usage;
      }
      return false;
    };
    QVERIFY(refused("nonsense", "5"));
    QVERIFY(refused("oracle", ""));
    QVERIFY(refused("oracle", "5", 3));
    QVERIFY(refused("dense", "5"));
    QVERIFY(refused("sink_window", "p0.9"));
    QVERIFY(refused("random", "p0.9"));
    QVERIFY(refused("indexer", "5"));
    QVERIFY(refused("oracle", "5", 1, {{"local", 0}}));
    QVERIFY(refused("oracle", "5", 1, {{"seed", 1}}));
    QVERIFY(!policy_of("oracle", "5", 64)->causal());
    QVERIFY(policy_of("random", "5", 64)->causal());
    QVERIFY(policy_of("dense")->is_dense());
  }

  void a_setting_is_part_of_the_id() {
    QCOMPARE(policy_of("dense")->id(), std::string("dense"));
    QCOMPARE(policy_of("oracle", "512")->id(), std::string("oracle-k512-g1"));
    QCOMPARE(policy_of("oracle", "512", 1, {{"sinks", 0}, {"local", 1}})->id(), std::string("oracle-k512-g1"));
    QCOMPARE(policy_of("sink_window", "10%", 1, {{"sinks", 8}})->id(), std::string("sink_window-f10-g1-sinks8"));
    QVERIFY(policy_of("oracle", "512")->fingerprint() == policy_of("oracle", "512", 1, {{"local", 1}})->fingerprint());
    std::set<std::string> fingerprints;
    for (const auto& policy :
         {policy_of("oracle", "512"), policy_of("oracle", "513"), policy_of("oracle", "512", 4),
          policy_of("oracle", "512", 1, {{"sinks", 4}}), policy_of("sink_window", "512"), policy_of("random", "512")})
      fingerprints.insert(policy->fingerprint());
    QCOMPARE(fingerprints.size(), std::size_t{6});
  }
};

QTEST_APPLESS_MAIN(TestPolicies)
#include "test_policies.moc"
