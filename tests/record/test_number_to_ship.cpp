// SPDX-License-Identifier: Apache-2.0
// The number to ship: from a sweep's cells and curves, from runs, and the file of budgets by layer.
#include <QtTest>
#include <nlohmann/json.hpp>

#include "base/layer_budgets.h"
#include "record/sweep/number_to_ship.h"
#include "sweep_fixture.h"

using namespace headroom;
using namespace headroom::record;

class TestNumberToShip : public QObject {
  Q_OBJECT

  static MethodSummary method(const char* name, int k, double mean, double least) {
    MethodSummary summary;
    summary.id = summary.name = name;
    summary.role = k > 0 ? MethodRole::deployable : MethodRole::dense;
    if (k > 0) summary.budget = Budget{BudgetKind::tokens, static_cast<double>(k)};
    summary.budget_tokens = k;
    summary.density = k > 0 ? k / 1000.0 : 1;
    summary.captured_mass_mean = mean;
    summary.captured_mass_min = least;
    return summary;
  }

 private slots:
  void of_a_sweep_the_smallest_that_meets_both_as_larger_ones_do() {
    const SweepRecord record = test::sweep_record();
    const SweepSummary summary = summarise(record);
    // The oracle: 64 loses each 8th sample of `needle`, 128 each 16th.
    const auto ask = [&](double keep, double worst) {
      return number_to_ship(record, summary, SweepScope::task, 0, 512, {1, 2}, {keep, worst});
    };
    auto ship = ask(0.5, 0.1);
    QVERIFY(ship.scored);
    QCOMPARE(ship.budgets.size(), 2u);
    QVERIFY(summary.cells[ship.budgets[0].cell].density < summary.cells[ship.budgets[1].cell].density);
    QCOMPARE(ship.chosen, std::optional<std::size_t>(0));
    // Dense 50, k = 64: of 40 samples, every second right, each eighth lost: 37.5 of 50.
    QVERIFY(std::abs(ship.budgets[0].kept - 0.75) < 1e-9);
    QCOMPARE(ask(0.8, 0.1).chosen, std::optional<std::size_t>(1));
    QCOMPARE(ask(0.99, 0.1).chosen, std::optional<std::size_t>());
    // The fixture's worst layer is the first, 1 - (k + 1)^-0.3 at a stored budget.
    QVERIFY(ship.budgets[1].worst);
    QCOMPARE(ship.budgets[1].worst->layer, 0);
    QVERIFY(std::abs(ship.budgets[1].worst->mass - (1 - std::pow(129.0, -0.3))) < 1e-5);
    QCOMPARE(ask(0.5, 0.68).chosen, std::optional<std::size_t>(0));
    QCOMPARE(ask(0.5, 0.75).chosen, std::optional<std::size_t>(1));
    QCOMPARE(ask(0.5, 0.8).chosen, std::optional<std::size_t>());
  }

  void what_the_methods_own_keys_hold_decides_where_it_is_known() {
    const SweepRecord record = test::sweep_record();
    const SweepSummary summary = summarise(record);
    const auto ask = [&](double worst) {
      return number_to_ship(record, summary, SweepScope::task, 0, 512, {1, 2}, {0.5, worst}, [](std::size_t method) {
        return method == 1 ? std::optional(LayerBudget{2, 64, 0.4}) : std::nullopt;
      });
    };
    // The bound says 0.68 and more of 64 keys; their own are told to hold 0.4.
    QCOMPARE(ask(0.39).chosen, std::optional<std::size_t>(0));
    const auto ship = ask(0.45);
    QCOMPARE(ship.chosen, std::optional<std::size_t>(1));
    QVERIFY(ship.budgets[0].own_worst && !ship.budgets[0].worst_keeps && ship.budgets[0].worst->mass >= 0.68);
    QVERIFY(!ship.budgets[1].own_worst && ship.budgets[1].worst_keeps);

    MethodSummary run = method("indexer", 64, 0.9, 0.5);
    QVERIFY(!worst_layer_of(run));
    run.captured_mass_per_layer = {0.9, std::nan(""), 0.5, 0.8};
    QCOMPARE(worst_layer_of(run)->layer, 2);
    QCOMPARE(worst_layer_of(run)->mass, 0.5);
    QCOMPARE(worst_layer_of(run)->keys, std::int64_t{64});
  }

  void curves_of_a_sweep_give_mean_and_worst_layer() {
    const SweepRecord record = test::sweep_record();
    const MassRecall recall = mass_recall(record);
    const LengthRecall* at = recall.at(512);
    QVERIFY(at && !recall.at(4096));
    QVERIFY(at->held_out);
    QCOMPARE(at->samples, 2);
    QCOMPARE(at->budgets.size(), at->mean.size());
    QVERIFY(std::abs(at->worst[1] - (1 - std::pow(9.0, -0.3))) < 1e-5);
    QCOMPARE(at->worst_layer[1], 0);
    QVERIFY(at->mean[1] > at->worst[1]);
    const auto own = worst_layer_at(record, 512, 8, {{0, 128}, {1, 8}, {2, 8}});
    QCOMPARE(own->layer, 1);
  }

  void of_runs_every_prompt_must_have_run_it_and_keep_it() {
    const std::vector<MethodSummary> first = {method("dense", 0, 1, 1), method("indexer", 64, 0.94, 0.91),
                                              method("indexer", 128, 0.97, 0.93), method("indexer", 256, 0.99, 0.97)};
    const std::vector<MethodSummary> second = {method("dense", 0, 1, 1), method("indexer", 64, 0.96, 0.92),
                                               method("indexer", 128, 0.96, 0.91)};
    const std::vector<double> budgets = {32, 128}, mean = {0.9, 0.98}, worst = {0.85, 0.95};
    std::vector<ShipPrompt> prompts = {{&first, 1000, false, budgets, mean, worst},
                                       {&second, 1000, false, budgets, mean, worst}};
    const auto any = [](const MethodSummary& one) { return one.name == "indexer"; };
    auto ship = number_to_ship(prompts, {0.95, 0.9}, any);
    QCOMPARE(ship.budgets.size(), 3u);
    QVERIFY(ship.chosen && ship.budgets[*ship.chosen].budget.value == 128);  // 256 ran on one prompt alone
    QCOMPARE(ship.budgets[2].run, 1);
    // Straight in log k: 32 * 4^((0.95 - 0.9) / 0.08) = 76.1
    QCOMPARE(ship.bound, std::optional<std::int64_t>(77));
    QVERIFY(!number_to_ship(prompts, {0.95, 0.95}, any).chosen);
    prompts[1].mean = {0.8, 0.9};
    QVERIFY(!number_to_ship(prompts, {0.95, 0.9}, any).bound);
    QVERIFY(!number_to_ship({}, {0.95, 0.9}, any).chosen);
  }

  void a_file_of_budgets_reads_back() {
    RunBudgets budgets;
    budgets.model = "tiny";
    budgets.model_sha256 = std::string(64, 'a');
    budgets.layers = {{0, 16, 0.95}, {2, 128, 0.95}};
    budgets.dense_layers = {1};
    budgets.sources = {"one.h5"};
    const auto json = to_json(budgets);
    QCOMPARE(json["kind"].get<std::string>(), std::string(layer_budgets_kind));
    const LayerBudgets back = layer_budgets_from_json(json, "budget.json");
    QCOMPARE(back.text(), std::string("0:16 2:128"));
    QCOMPARE(back.mean(), 72);
    QCOMPARE(back.model_sha256, budgets.model_sha256);
  }
};

QTEST_APPLESS_MAIN(TestNumberToShip)
#include "test_number_to_ship.moc"
