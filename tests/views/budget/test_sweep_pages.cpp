// SPDX-License-Identifier: GPL-3.0-or-later
// Sweeps on the Budget page: markers, choosers, waterfall, verdicts, samples, the number to ship, undo; what one run's
// page says of its lines.
#include <QComboBox>
#include <QDoubleSpinBox>
#include <QLabel>
#include <QPushButton>
#include <QTabBar>
#include <QTabWidget>
#include <QTableView>
#include <QtTest>
#include <nlohmann/json.hpp>

#include "base/layer_budgets.h"
#include "base/output_file.h"
#include "record/record_writer.h"
#include "record/sweep/sweep_file.h"
#include "record/sweep_fixture.h"
#include "views/budget/budget_page.h"
#include "views/budget/budget_plot.h"
#include "views/budget/gap_waterfall.h"
#include "views/budget/ship_panel.h"
#include "views/budget/sweep_panel.h"
#include "views/budget/sweep_plot.h"
#include "views/common/page_fixture.h"

using namespace headroom;
using namespace headroom::views;

class TestSweepPages : public QObject {
  Q_OBJECT

  static SweepPtr written(const char* name, const record::SweepRecord& record) {
    const auto file = temporary_file(name);
    OutputPlace place(file, OutputKind::file);
    record::write_sweep(place, record);
    return read_open_sweep(file);
  }
  static record::SweepRecord looked_at() {
    record::SweepRecord record = test::sweep_record();
    for (std::size_t i = 0; i < record.meta.methods.size(); ++i)
      record.meta.methods[i].look = static_cast<int>(std::min<std::size_t>(i, 3));
    record.meta.methods[1].title = record.meta.methods[2].title = "Oracle";
    record.meta.methods[3].title = record.meta.methods[4].title = "Indexer";
    return record;
  }
  static SweepPtr sweep() {
    static const SweepPtr made = written("sweep.h5", looked_at());
    return made;
  }
  static RecordPtr one_run() {
    static const RecordPtr made = [] {
      test::SyntheticOptions options;
      options.tokens = 180;
      options.layers = 3;
      return make_record("run.h5", options);
    }();
    return made;
  }
  struct Bench {
    Selection selection;
    BudgetPage page{&selection};
    explicit Bench(const SweepPtr& sweep, const RecordPtr& run = nullptr) {
      if (run) selection.open_record(run);
      if (sweep) selection.open_sweep(sweep);
      show_page(page, {1000, 640});
      settle();
    }
    void settle() {
      for (int i = 0; i < 3; ++i) QCoreApplication::processEvents();
      page.refresh_now();
    }
    template <typename T>
    T* find(const char* name) {
      return page.findChild<T*>(name);
    }
    void choose(const char* box, const QVariant& data) {
      auto* combo = find<QComboBox>(box);
      const int index = combo->findData(data);
      QVERIFY2(index >= 0, box);
      combo->setCurrentIndex(index);
      emit combo->activated(index);
      settle();
    }
  };

 private slots:
  void a_sweep_shows_what_was_run_with_intervals() {
    Bench b(sweep());
    const SweepPicture& picture = b.page.sweep_panel()->plot()->picture();
    QCOMPARE(picture.points.size(), 4u);
    QVERIFY(picture.dense && *picture.dense == 0 && *picture.margin == 1);
    for (const SweepPoint& point : picture.points) {
      QVERIFY(point.low && point.high && *point.low<point.y&& * point.high> point.y);
      QVERIFY(point.y <= 0);
    }
    QVERIFY(picture.points[0].look != picture.points[2].look);  // oracle and indexer are told apart
    QVERIFY(picture.points[2].filled && !picture.points[3].filled);
    QVERIFY(!picture.recall_x.empty());
    QVERIFY(b.page.sweep_panel()->plot()->legend_html().contains("computed"));
    QVERIFY(b.find<QLabel>("sweep_facts")->text().contains("Macro over 2 of 2 tasks"));
  }

  void choosers_change_task_length_and_axis() {
    Bench b(sweep());
    const auto first = b.page.sweep_panel()->plot()->picture().points[0];
    b.choose("sweep_task", 0);
    const auto needle = b.page.sweep_panel()->plot()->picture().points[0];
    QVERIFY(needle.y != first.y);
    b.choose("sweep_length", 1024);
    QVERIFY(b.page.sweep_panel()->plot()->picture().points[0].x < needle.x);
    b.choose("sweep_quantity", 1);
    QVERIFY(*b.page.sweep_panel()->plot()->picture().dense > 10);  // the dense score
    b.choose("sweep_quantity", 2);
    QVERIFY(!b.page.sweep_panel()->plot()->picture().dense);
    auto* axis = b.find<QComboBox>("sweep_axis");
    axis->setCurrentIndex(1);
    emit axis->activated(1);
    b.settle();
    QCOMPARE(b.page.sweep_panel()->plot()->picture().points[0].x, 64.0);
    b.selection.undo();
    b.settle();
    QVERIFY(b.page.sweep_panel()->plot()->picture().points[0].x < 1);
    QCOMPARE(axis->currentIndex(), 0);
  }

  void the_waterfall_adds_up_and_says_what_is_shared() {
    Bench b(sweep());
    const auto& bars = b.page.sweep_panel()->waterfall()->bars();
    QCOMPARE(bars.size(), 3u);
    double sum = 0;
    for (const auto& bar : bars) sum += bar.points;
    const auto& cells = sweep()->summary.cells;
    for (const auto& cell : cells)
      if (cell.scope == record::SweepScope::macro && cell.length == 512 && cell.method == 4)
        QVERIFY(std::abs(sum + cell.difference.mean) < 1e-9);
    QVERIFY(bars[2].pair.contains("shared by 64"));
    auto* gaps = b.find<QTableView>("sweep_gaps")->model();
    QCOMPARE(gaps->rowCount(), 3);  // macro and two tasks
  }

  void a_sample_is_chosen_and_can_be_recorded() {
    Bench b(sweep());
    b.choose("sweep_method", QStringLiteral("indexer-k64-g1"));
    b.find<QTabWidget>("sweep_tabs")->setCurrentIndex(2);
    auto* record = b.find<QPushButton>("record_sample");
    QVERIFY(!record->isEnabled());
    auto* table = b.find<QTableView>("sweep_samples");
    QCOMPARE(table->model()->rowCount(), 80);
    b.choose("sweep_task", 1);
    QCOMPARE(table->model()->rowCount(), 40);
    QSignalSpy asked(&b.page, &BudgetPage::record_sample_requested);
    table->setCurrentIndex(table->model()->index(3, 0));
    QVERIFY(record->isEnabled());
    QTest::mouseClick(record, Qt::LeftButton);
    QCOMPARE(asked.count(), 1);
    const auto& row = sweep()->record.rows[static_cast<std::size_t>(asked[0][0].toInt())];
    QCOMPARE(row.sample.task, 1u);
    QCOMPARE(row.method, 3u);
    QVERIFY(b.find<QLabel>("sweep_answers")->text().contains("Dense:"));
  }

  void a_click_on_a_marker_lists_its_samples() {
    Bench b(sweep());
    SweepPlot* plot = b.page.sweep_panel()->plot();
    plot->replot();
    QTest::mouseClick(plot, Qt::LeftButton, {}, plot->place_of("oracle-k128-g1").toPoint());
    b.settle();
    QCOMPARE(b.selection.state().sweep_look.method, QString("oracle-k128-g1"));
    QCOMPARE(b.find<QComboBox>("sweep_method")->currentData().toString(), QString("oracle-k128-g1"));
  }

  void an_arm_above_dense_is_an_alarm() {
    record::SweepRecord record = looked_at();
    for (auto& row : record.rows)
      if (row.method == 3) row.score = 100;
    Bench b(written("alarm.h5", record));
    auto* alarms = b.find<QLabel>("sweep_alarms");
    QVERIFY(alarms->isVisible() && alarms->text().contains("ALARM"));
    const auto& points = b.page.sweep_panel()->plot()->picture().points;
    QVERIFY(std::any_of(points.begin(), points.end(), [](const auto& point) { return point.alarm; }));
    Bench calm(sweep());
    QVERIFY(!calm.find<QLabel>("sweep_alarms")->isVisible());
  }

  void few_pairs_give_dots_and_no_verdict() {
    Bench b(written("few.h5", test::sweep_record(test::sweep_meta(8))));
    for (const auto& point : b.page.sweep_panel()->plot()->picture().points) QVERIFY(!point.low);
    QVERIFY(b.find<QLabel>("sweep_verdicts")->text().contains("no interval"));
  }

  void a_sweep_that_grows_keeps_what_was_chosen() {
    record::SweepRecord half = looked_at();
    std::erase_if(half.rows, [](const auto& row) { return !row.sample.calibration && row.sample.seed >= 10; });
    half.meta.complete = false;
    const SweepPtr before = written("grows.h5", half);
    Bench b(before);
    b.choose("sweep_task", 1);
    auto* table = b.find<QTableView>("sweep_methods");
    QVERIFY(table->model()->index(1, 3).data().toString().contains("10 of 40"));
    const SweepPtr after = written("grows.h5", looked_at());
    b.selection.update_sweep(after);
    b.settle();
    QCOMPARE(b.selection.state().sweep_look.task, 1);
    QCOMPARE(table->model()->index(1, 3).data().toString(), QString("40"));
    b.selection.undo();  // of the task: not of the rows
    b.settle();
    QCOMPARE(b.selection.sweep(), after);
  }

  void the_number_to_ship_follows_its_targets() {
    Bench b(sweep());
    b.find<QTabBar>("budget_tabs")->setCurrentIndex(2);
    b.settle();
    ShipPanel* ship = b.page.ship_panel();
    QTRY_VERIFY(ship->settled());
    b.choose("ship_task", 0);
    auto* method = b.find<QComboBox>("ship_method");
    method->setCurrentIndex(0);  // the oracle
    emit method->activated(0);
    b.find<QDoubleSpinBox>("ship_worst")->setValue(60);
    b.find<QDoubleSpinBox>("ship_keep")->setValue(70);
    b.settle();
    QVERIFY2(ship->headline().contains("<b>64 keys</b>"), qPrintable(ship->headline()));
    QVERIFY(ship->headline().contains("Not timed"));
    b.find<QDoubleSpinBox>("ship_keep")->setValue(80);
    b.settle();
    QVERIFY2(ship->headline().contains("<b>128 keys</b>"), qPrintable(ship->headline()));
    b.find<QDoubleSpinBox>("ship_keep")->setValue(99);
    b.settle();
    QVERIFY2(ship->headline().contains("<b>No budget</b>"), qPrintable(ship->headline()));
  }

  void times_and_the_worst_layer_of_its_own_come_from_an_open_run() {
    const auto ship_row = [](Bench& b, const QString& budget) {
      QMap<QString, QString> cells;
      const QAbstractItemModel* rows = b.page.ship_panel()->model();
      for (int row = 0; row < rows->rowCount(); ++row)
        if (rows->index(row, 0).data().toString() == budget)
          for (int column = 0; column < rows->columnCount(); ++column)
            cells[rows->headerData(column, Qt::Horizontal).toString()] = rows->index(row, column).data().toString();
      return cells;
    };
    const auto ask = [](Bench& b) {
      b.find<QTabBar>("budget_tabs")->setCurrentIndex(2);
      b.settle();
      QTRY_VERIFY(b.page.ship_panel()->settled());
      b.choose("ship_task", 0);
      auto* method = b.find<QComboBox>("ship_method");
      method->setCurrentIndex(0);  // the oracle
      emit method->activated(0);
      b.find<QDoubleSpinBox>("ship_worst")->setValue(60);
      b.find<QDoubleSpinBox>("ship_keep")->setValue(70);
      b.settle();
    };
    {
      Bench b(sweep());
      ask(b);
      const auto row = ship_row(b, "64 keys");
      QCOMPARE(row["TTFT"], QString("not timed"));
      QCOMPARE(row["worst layer, own keys"], QString("not run"));
      QVERIFY2(row["worst layer, best keys"].contains("in layer 0"), qPrintable(row["worst layer, best keys"]));
      QVERIFY(b.page.ship_panel()->headline().contains("the best keys hold"));
      QVERIFY(b.find<QLabel>("ship_note")->text().contains("no method holds more"));
    }
    // A run of the model, of a prompt as long, in which the oracle's worst layer keeps less than is asked for.
    test::SyntheticOptions options;
    options.tokens = 500;
    options.layers = 3;
    record::RunMeta meta = test::synthetic_meta(options);
    meta.model_sha256 = std::string(64, 'a');
    const auto write = [&](const char* name, double worst) {
      const auto file = temporary_file(name);
      record::RecordWriter writer(file, meta, test::synthetic_tokens(options.tokens, 1));
      for (const char* id : {"dense", "oracle-k64-g1"}) {
        record::MethodSummary summary = test::synthetic_summary(options, id);
        summary.parameters.clear();
        summary.ttft = {321, 310, 330, 3};
        summary.captured_mass_per_layer = {0.9, worst, 0.8};
        writer.write_summary(summary);
      }
      writer.finish(meta);
      return record::RunRecord::open(file);
    };
    Bench b(sweep(), write("same_length.h5", 0.55));
    ask(b);
    auto row = ship_row(b, "64 keys");
    QCOMPARE(row["TTFT"], QString("321 ms"));
    QVERIFY2(row["worst layer, own keys"].startsWith("55.0 % in layer 1"), qPrintable(row["worst layer, own keys"]));
    QVERIFY(row["worst layer, own keys"].contains("✕") && !row["worst layer, best keys"].contains("✕"));
    QCOMPARE(row["meets both"], QString("no"));
    QCOMPARE(ship_row(b, "128 keys")["worst layer, own keys"], QString("not run"));
    QVERIFY2(b.page.ship_panel()->headline().contains("<b>128 keys</b>"), qPrintable(b.page.ship_panel()->headline()));
    b.find<QDoubleSpinBox>("ship_worst")->setValue(50);
    b.settle();
    const QString words = b.page.ship_panel()->headline();
    QVERIFY2(words.contains("<b>64 keys</b>") && words.contains("layer 1, its worst, keeps 55.0 %"), qPrintable(words));
    QVERIFY2(words.contains("TTFT 321 ms in same_length, 500 tokens"), qPrintable(words));
    // At another length it is of no use.
    b.choose("ship_length", 1024);
    QCOMPARE(ship_row(b, "64 keys")["TTFT"], QString("not timed"));
  }

  void budgets_by_layer_are_written_and_run() {
    Bench b(sweep());
    b.find<QTabBar>("budget_tabs")->setCurrentIndex(2);
    b.settle();
    auto* run = b.find<QPushButton>("run_layer_budgets");
    QTRY_VERIFY(b.page.ship_panel()->settled() && run->isEnabled());
    QSignalSpy written(&b.page, &BudgetPage::write_budgets_requested);
    QSignalSpy asked(&b.page, &BudgetPage::run_layer_budgets_requested);
    QTest::mouseClick(b.find<QPushButton>("write_budgets"), Qt::LeftButton);
    QTest::mouseClick(run, Qt::LeftButton);
    QCOMPARE(written.count(), 1);
    const auto json = nlohmann::json::parse(written[0][0].toByteArray().toStdString());
    const LayerBudgets in_file = layer_budgets_from_json(json, "file");
    QCOMPARE(in_file.keys.size(), 3u);
    const auto told = asked[0][0].value<LayerBudgets>();
    QCOMPARE(told.text(), in_file.text());
    QCOMPARE(told.model_sha256, std::string(64, 'a'));
    auto* list = b.find<QComboBox>("ship_list");
    list->setCurrentIndex(1);
    emit list->activated(1);
    b.settle();
    QTRY_VERIFY(b.page.ship_panel()->settled());
    QTest::mouseClick(run, Qt::LeftButton);
    QVERIFY(asked[1][0].value<LayerBudgets>().text() != told.text());
  }

  void runs_give_an_indication_that_is_called_one() {
    test::SyntheticOptions other;
    other.seed = 5;
    other.tokens = 150;
    other.layers = 3;
    Bench b(nullptr, one_run());
    b.selection.add_record(make_record("other.h5", other));
    b.find<QTabBar>("budget_tabs")->setCurrentIndex(2);
    b.settle();
    QVERIFY(b.find<QLabel>("ship_note")->text().contains("An indication from 2 prompts"));
    QVERIFY(b.page.ship_panel()->model()->rowCount() >= 2);
    b.find<QDoubleSpinBox>("ship_keep")->setValue(1);
    b.find<QDoubleSpinBox>("ship_worst")->setValue(1);
    b.settle();
    QVERIFY2(b.page.ship_panel()->headline().contains("<b>64 keys</b>"), qPrintable(b.page.ship_panel()->headline()));
    QVERIFY(b.find<QPushButton>("run_layer_budgets")->isEnabled());
  }

  void lines_of_one_run_are_called_the_oracles_bound() {
    Bench b(nullptr, one_run());
    QVERIFY(b.page.plot()->legend_html().contains("oracle's bound"));
    QVERIFY(b.find<QLabel>("knee_cost")->text().contains("worst head"));
    QCOMPARE(b.find<QTableView>("budget_measured")->model()->rowCount(), 3);
  }

  void streams_and_prompts_stand_in_one_plot() {
    test::SyntheticOptions other;
    other.seed = 5;
    other.tokens = 260;
    other.layers = 3;
    Bench b(nullptr, one_run());
    auto* stream = b.page.findChild<QComboBox*>("curve_stream");
    auto* measured = b.find<QTableView>("budget_measured")->model();
    const auto choose = [&](const QString& text) {
      const int index = stream->findText(text, Qt::MatchContains);
      QVERIFY2(index >= 0, qPrintable(text));
      stream->setCurrentIndex(index);
      emit stream->activated(index);
      b.settle();
    };
    const auto lines = [&] {
      int count = 0;
      for (int i = 0; i < b.page.plot()->graphCount(); ++i)
        count += b.page.plot()->graph(i)->lineStyle() == QCPGraph::lsLine;
      return count;
    };
    QCOMPARE(stream->count(), 4);  // three streams, and all of them; there is no other run
    QCOMPARE(lines(), 4);          // mean, p10, worst layer, worst head
    const double kept = b.page.read_out().mean;
    choose("All streams of this run");
    QCOMPARE(lines(), 3);
    QVERIFY(b.page.plot()->legend_html().contains("Oracle") && b.page.plot()->legend_html().contains("Indexer"));
    QCOMPARE(b.page.read_out().mean, kept);  // dense's, as before
    QCOMPARE(b.page.csv().count("mass recall,"), 3 * b.page.csv().count("mass recall,dense stream,"));
    b.selection.add_record(make_record("longer.h5", other));
    b.settle();
    QCOMPARE(lines(), 3);
    choose("Dense streams of 2 open runs");
    QCOMPARE(lines(), 2);
    QVERIFY2(b.page.plot()->legend_html().contains("longer,&nbsp;260&nbsp;tokens"),
             qPrintable(b.page.plot()->legend_html()));
    // Its curve is not cut off, and its methods stand in the same table.
    QVERIFY(b.page.plot()->axisRect(0)->axis(QCPAxis::atBottom)->range().upper >= 260);
    QCOMPARE(measured->rowCount(), 6);
    QStringList methods;
    for (int row = 0; row < 6; ++row) methods << measured->index(row, 0).data().toString();
    QCOMPARE(methods.filter("longer, 260 tokens").size(), 3);
    choose("Dense stream");
    QCOMPARE(lines(), 4);
    QCOMPARE(measured->rowCount(), 3);
    b.selection.undo();
    b.settle();
    QCOMPARE(lines(), 2);
  }

  void without_a_sweep_the_page_says_how_to_get_one() {
    Bench b(nullptr, one_run());
    QSignalSpy asked(&b.page, &BudgetPage::new_sweep_requested);
    b.find<QTabBar>("budget_tabs")->setCurrentIndex(1);
    b.settle();
    auto* words = b.find<QLabel>("budget_nothing");
    QVERIFY(words->isVisible() && words->text().contains("No sweep is open"));
    QTest::mouseClick(words->parentWidget()->findChild<QPushButton*>(), Qt::LeftButton);
    QCOMPARE(asked.count(), 1);
  }

  void closing_a_sweep_can_be_undone() {
    Bench b(sweep(), one_run());
    QVERIFY(b.selection.sweep());
    b.selection.close_sweep(0);
    QVERIFY(!b.selection.sweep());
    b.settle();
    b.selection.undo();
    QVERIFY(b.selection.sweep());
    b.selection.redo();
    QVERIFY(!b.selection.sweep());
  }
};

QTEST_MAIN(TestSweepPages)
#include "test_sweep_pages.moc"
