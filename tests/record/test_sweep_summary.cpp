// SPDX-License-Identifier: Apache-2.0
// What a sweep says: chosen tasks, differences, verdicts, gaps, alarms, budgets for layers, tables.
#include <QtTest>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "record/sweep/sweep_plan.h"
#include "record/sweep/sweep_summary.h"
#include "record/sweep/sweep_tables.h"
#include "sweep_fixture.h"

using namespace headroom;
using namespace headroom::record;

namespace {

const SweepCell& cell_of(const SweepSummary& summary, SweepScope scope, std::size_t task, std::size_t method) {
  for (const SweepCell& cell : summary.cells)
    if (cell.scope == scope && cell.length == 512 && cell.method == method &&
        (scope != SweepScope::task || cell.task == task))
      return cell;
  qFatal("no such cell");
}

}  // namespace

class TestSweepSummary : public QObject {
  Q_OBJECT

 private slots:
  void differences_are_those_of_the_rows() {
    const SweepRecord record = test::sweep_record();
    const SweepSummary summary = summarise(record);
    // 40 samples: oracle at 64 loses where the seed divides by 8, so 5 of the 20 that dense has right.
    const SweepCell& needle = cell_of(summary, SweepScope::task, 0, 1);
    QCOMPARE(*needle.dense_score, 50.0);
    QCOMPARE(needle.difference.mean, -12.5);
    QCOMPARE(needle.difference.kind, statistics::IntervalKind::score);
    QCOMPARE(needle.difference.pairs, std::int64_t{40});
    QCOMPARE(needle.exact, 35.0 / 40);
    QCOMPARE(needle.flips, 5 * 2 / 400.0);
    QVERIFY(needle.kl.interval->low < needle.kl.mean && needle.kl.mean < needle.kl.interval->high);
    QCOMPARE(cell_of(summary, SweepScope::task, 1, 1).difference.kind, statistics::IntervalKind::bootstrap);
    const SweepCell& macro = cell_of(summary, SweepScope::macro, 0, 1);
    QCOMPARE(macro.difference.pairs, std::int64_t{80});
    QVERIFY(std::abs(macro.difference.mean - (-12.5 - 25 * 5 / 40.0) / 2) < 1e-12);
    QCOMPARE(macro.density, 0.25);
    // In-family and out-of-family apart.
    QCOMPARE(cell_of(summary, SweepScope::in_family, 0, 1).difference.mean, -12.5);
    QCOMPARE(cell_of(summary, SweepScope::out_of_family, 0, 1).difference.mean, -25 * 5 / 40.0);
    QVERIFY(!cell_of(summary, SweepScope::task, 0, 0).difference.interval);  // dense with itself
    QVERIFY(summary.alarms.empty());
  }

  void calibration_chooses_tasks() {
    SweepRecord record = test::sweep_record();
    for (SweepRow& row : record.rows)
      if (row.sample.calibration) row.score = row.sample.task == 0 ? 100 : 50;
    SweepSummary summary = summarise(record);
    QCOMPARE(QString::fromStdString(summary.notes[0]),
             QString("macro over 1 of 2 tasks at 512 tokens: words; left out by calibration: needle (ceiling)"));
    QCOMPARE(cell_of(summary, SweepScope::macro, 0, 1).difference.pairs, std::int64_t{40});
    QCOMPARE(cell_of(summary, SweepScope::task, 0, 1).difference.pairs, std::int64_t{40});  // shown all the same
    for (SweepRow& row : record.rows)
      if (row.sample.calibration) row.score = 0;
    summary = summarise(record);
    QVERIFY(summary.notes[0].starts_with(
        "no macro mean at 512 tokens; left out by calibration: needle (floor), words (floor)"));
    // Calibration rows are never scored.
    QCOMPARE(cell_of(summary, SweepScope::task, 0, 0).samples, std::int64_t{40});
    record = test::sweep_record(test::sweep_meta(40, 0));
    QVERIFY(QString::fromStdString(summarise(record).notes[0]).endsWith("not chosen by calibration"));
  }

  void gaps_add_up_to_dense_minus_executed() {
    const SweepSummary summary = summarise(test::sweep_record());
    double sum = 0;
    int bars = 0;
    for (const SweepGap& gap : summary.gaps) {
      if (gap.scope != SweepScope::macro || gap.length != 512 || gap.budget != "64") continue;
      sum += gap.difference.mean;
      ++bars;
    }
    QCOMPARE(bars, 3);
    QVERIFY(std::abs(sum + cell_of(summary, SweepScope::macro, 0, 4).difference.mean) < 1e-9);
    // At 128 keys there is no indexer: feasibility alone.
    QCOMPARE(std::count_if(summary.gaps.begin(), summary.gaps.end(),
                           [](const SweepGap& gap) { return gap.budget == "128" && gap.scope == SweepScope::macro; }),
             2);
    // Without blocks the supports are executed as they are.
    SweepMeta meta = test::sweep_meta();
    meta.methods.pop_back();
    const SweepSummary plain = summarise(test::sweep_record(meta));
    QVERIFY(std::any_of(plain.gaps.begin(), plain.gaps.end(), [](const SweepGap& gap) {
      return gap.kind == GapKind::realization && gap.by_construction && gap.difference.mean == 0;
    }));
  }

  void a_verdict_stops_at_the_first_failure() {
    SweepRecord record = test::sweep_record(test::sweep_meta(400, 0));
    const auto score = [&](std::size_t method, std::int64_t every) {
      for (SweepRow& row : record.rows)
        if (row.method == method) row.score = row.sample.seed % every == 0 ? 0 : 100;
    };
    score(0, 2);
    score(2, 2);  // 128 keys: as dense
    score(1, 2);  // 64 keys: as dense
    SweepSummary summary = summarise(record);
    QCOMPARE(cell_of(summary, SweepScope::macro, 0, 2).verdict, Verdict::enough);
    QCOMPARE(cell_of(summary, SweepScope::macro, 0, 1).verdict, Verdict::enough);
    QCOMPARE(cell_of(summary, SweepScope::task, 0, 1).verdict, Verdict::enough);  // 3/400 < 1 point
    for (SweepRow& row : record.rows)
      if (row.method == 2 && row.sample.seed % 20 == 1) row.score = 0;  // the larger budget loses
    summary = summarise(record);
    QCOMPARE(cell_of(summary, SweepScope::macro, 0, 2).verdict, Verdict::not_shown);
    QCOMPARE(cell_of(summary, SweepScope::macro, 0, 1).verdict, Verdict::after_failure);
    QCOMPARE(cell_of(summarise(record, 20), SweepScope::macro, 0, 2).verdict, Verdict::enough);
    // 40 samples cannot show a point, and say so.
    QCOMPARE(cell_of(summarise(test::sweep_record()), SweepScope::macro, 0, 2).verdict, Verdict::not_shown);
    QCOMPARE(cell_of(summarise(test::sweep_record(test::sweep_meta(10, 0))), SweepScope::task, 0, 2).verdict,
             Verdict::none);
  }

  void better_than_dense_is_an_alarm() {
    SweepRecord record = test::sweep_record(test::sweep_meta(40, 0));
    for (SweepRow& row : record.rows)
      if (row.sample.task == 0 && row.sample.length == 512 && row.method == 3)
        row.score = row.sample.seed % 2 == 0 || row.sample.seed < 25 ? 100 : 0;
    const SweepSummary summary = summarise(record);
    QVERIFY(cell_of(summary, SweepScope::task, 0, 3).alarm);
    QVERIFY(!summary.alarms.empty());
    QVERIFY2(QString::fromStdString(summary.alarms.back())
                 .startsWith("ALARM: indexer-k64-g1 on needle at 512 tokens is above dense by +"),
             summary.alarms.back().c_str());
  }

  void layers_get_what_keeps_the_mass() {
    const SweepRecord record = test::sweep_record();
    const SweepPlan plan = plan_budgets(record, {.length = 512, .mass = 0.7, .keys = std::nullopt});
    QCOMPARE(plan.samples, std::int64_t{2});
    QVERIFY(plan.held_out);
    QCOMPARE(plan.by_mass.size(), std::size_t{3});
    for (const LayerBudget& one : plan.by_mass) QVERIFY(one.mass >= 0.7);
    QVERIFY(plan.by_mass[0].keys > plan.by_mass[1].keys && plan.by_mass[1].keys > plan.by_mass[2].keys);
    // 1 - 33^-0.6 is 0.877 at 32 keys and 1 - 9^-0.6 0.732 at 8: between them, near 8.
    QVERIFY(plan.by_mass[1].keys > 1 && plan.by_mass[1].keys <= 8);
    const SweepPlan given = plan_budgets(record, {.length = 512, .mass = 0.7, .keys = 64});
    std::int64_t total = 0;
    for (const LayerBudget& one : given.greedy) total += one.keys;
    QVERIFY2(given.greedy_mass >= given.uniform_mass,
             qPrintable(QString("%1 %2").arg(given.greedy_mass).arg(given.uniform_mass)));
    QCOMPARE(total, std::int64_t{3 * 64});  // none is left over
    QVERIFY(given.greedy[0].keys > given.greedy[2].keys);
    const auto json = to_json(record, summarise(record), given, "S.h5");
    QCOMPARE(json["layers"].size(), std::size_t{3});
    QCOMPARE(json["model_sha256"], record.meta.model_sha256);
    QVERIFY(json["evidence"]["measured_with_one_budget_for_all_layers"].size() == 4);
    QVERIFY_THROWS_EXCEPTION(Error, plan_budgets(record, {.length = 7, .mass = 0.7, .keys = std::nullopt}));
    QVERIFY_THROWS_EXCEPTION(Error, plan_budgets(record, {.length = 512, .mass = 1.5, .keys = std::nullopt}));
    QVERIFY_THROWS_EXCEPTION(
        Error, plan_budgets(test::sweep_record(test::sweep_meta(4, 0)), {.length = 512, .mass = 0.7, .keys = 8}));
  }

  void tables_have_a_cell_for_every_column() {
    const SweepRecord record = test::sweep_record();
    const SweepSummary summary = summarise(record);
    for (const char* view : {"sweep", "waterfall", "rows", "plan"}) {
      const Table table = sweep_view(record, summary, view, {.length = 512, .mass = 0.9, .keys = std::nullopt});
      QVERIFY(!table.rows.empty());
      for (const auto& row : table.rows) QCOMPARE(row.size(), table.columns.size());
      QVERIFY(to_csv(table).size() > 100 && to_tex(table).find("\\toprule") != std::string::npos);
      QVERIFY(!nlohmann::json::parse(to_json(table))["rows"].empty());
    }
    QCOMPARE(rows_table(record).rows.size(), record.rows.size());
    QVERIFY_THROWS_EXCEPTION(Error, sweep_view(record, summary, "attention", {}));
    const std::string json = to_json(record.meta, summary).dump();
    QVERIFY(json.find("nan") == std::string::npos && json.find("\"alarms\"") != std::string::npos);
  }
};

QTEST_APPLESS_MAIN(TestSweepSummary)
#include "test_sweep_summary.moc"
