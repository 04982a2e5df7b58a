// SPDX-License-Identifier: GPL-3.0-or-later
// The Overview is of one budget at a time, or of all in a table; its colours tell captured masses near 1 apart; no
// percentile is averaged and no count is written as a power of ten.
#include <QComboBox>
#include <QLabel>
#include <QTreeWidget>

#include "record/speedup.h"
#include "views/budget/budget_page.h"
#include "views/common/head_statistics_model.h"
#include "views/common/page_fixture.h"
#include "views/common/record_queries.h"
#include "views/common/theme.h"
#include "views/docks/inspector_dock.h"
#include "views/overview/answer_sentence.h"
#include "views/overview/head_grid_widget.h"
#include "views/overview/overview_page.h"
#include "views/timing/timing_model.h"

using namespace headroom;
using namespace headroom::views;

namespace {

RecordPtr budgets_record() {
  static const RecordPtr record = [] {
    test::SyntheticOptions options;
    options.tokens = 300;
    options.layers = 3;
    options.methods = {"dense", "oracle-k32-g1", "indexer-k32-g1", "oracle-k128-g1", "kv_topk-k64-g1"};
    return make_record("budgets.h5", options);
  }();
  return record;
}

QComboBox* chooser(const OverviewPage& page) {
  for (auto* box : page.findChildren<QComboBox*>())
    if (box->accessibleName() == "Budget that the page is of") return box;
  return nullptr;
}

}  // namespace

class TestOneBudget : public QObject {
  Q_OBJECT
 private slots:
  void all_numbers_are_of_one_budget() {
    Selection selection;
    selection.open_record(budgets_record());
    selection.change([](ViewState& s) { s.method = "indexer-k32-g1", s.budget = 200; });
    OverviewPage page(&selection);
    show_page(page, {1280, 720});
    QCOMPARE(page.answer_text().count("32 keys"), 2);
    QVERIFY2(!page.answer_text().contains("128 keys") && !page.answer_text().contains("64 keys"),
             qPrintable(page.answer_text()));
    QComboBox* box = chooser(page);
    QVERIFY(box && box->isVisible());
    QCOMPARE(box->count(), 4);  // 32, 64, 128, all
    QCOMPARE(box->currentText(), QString("32 keys"));
    bool said = false;
    for (auto* label : page.findChildren<QLabel*>()) said |= label->text().contains("Not run at this budget:");
    QVERIFY(said);
    box->setCurrentIndex(2);
    emit box->activated(2);
    QTRY_COMPARE(page.answer_text().count("128 keys"), 1);
    QCOMPARE(selection.state().method, QString("oracle-k128-g1"));
    QVERIFY(!page.answer_text().contains("32 keys"));
    emit box->activated(3);
    QTRY_VERIFY(selection.state().display.all_budgets);
    QCoreApplication::processEvents();
    for (const char* text : {"32 keys", "64 keys", "128 keys"}) QVERIFY(page.all_budgets_html().contains(text));
    bool table = false;
    for (auto* label : page.findChildren<QLabel*>()) table |= label->accessibleName() == "All budgets";
    QVERIFY(table);
    selection.undo();
    QTRY_VERIFY(!selection.state().display.all_budgets);
  }

  void captured_mass_is_coloured_by_what_is_left_out() {
    auto data = std::make_shared<GridData>();
    data->layers = 1;
    data->heads = 5;
    record::LayerMeta layer;
    layer.num_q_heads = layer.num_kv_heads = 4;
    data->sizes = {layer};
    data->statistic = find_grid_statistic("captured_mass");
    data->values = {0.5, 0.99, 0.999, 0.9999, 0.9};
    HeadGridWidget grid;
    grid.set_data(data, {0});
    QCOMPARE(grid.fraction(0.5), 0.0);
    QCOMPARE(grid.fraction(0.9999), 1.0);
    // A tenth of the loss is the same step everywhere.
    const double step = grid.fraction(0.999) - grid.fraction(0.99);
    QVERIFY(step > 0.2);
    QVERIFY(std::abs(grid.fraction(0.9999) - grid.fraction(0.999) - step) < 1e-9);
    data->statistic = find_grid_statistic("missed_mass");
    data->values = {0.0, 0.001, 0.01, 0.1, 0.02};
    grid.set_data(data, {0});
    QVERIFY(std::abs(grid.fraction(0.01) - grid.fraction(0.001) - (grid.fraction(0.1) - grid.fraction(0.01))) < 1e-9);
  }

  void percentiles_of_layers_are_not_averaged() {
    const auto record = budgets_record();
    const auto curves = record->mass_curves("dense");
    const RecallCurves all = recall_curves(*record, *curves, -1);
    std::vector<RecallCurves> layers;
    for (int layer = 0; layer < 3; ++layer) layers.push_back(recall_curves(*record, *curves, layer));
    for (std::size_t i = 0; i < all.budgets.size(); ++i)
      QCOMPARE(all.p10[i], std::min({layers[0].p10[i], layers[1].p10[i], layers[2].p10[i]}));
    Selection selection;
    selection.open_record(record);
    BudgetPage page(&selection);
    show_page(page, {1280, 720});
    bool named = false;
    for (auto* label : page.findChildren<QLabel*>()) named |= label->text() == "p10, worst layer";
    QVERIFY(named);
    for (auto* box : page.findChildren<QComboBox*>()) QVERIFY(box->findText("top-p") < 0);
  }

  void thousands_are_written_out() {
    test::SyntheticOptions options;
    options.tokens = 2600;
    options.layers = 1;
    options.num_q_heads = 2;
    options.num_kv_heads = 1;
    options.methods = {"dense"};
    Selection selection;
    selection.open_record(make_record("long.h5", options));
    InspectorDock dock(&selection);
    show_page(dock, {300, 600});
    QCoreApplication::processEvents();
    const auto* tree = dock.findChild<QTreeWidget*>();
    for (auto* item : tree->findItems("*", Qt::MatchWildcard | Qt::MatchRecursive, 1))
      QVERIFY2(!item->text(1).contains("e+"), qPrintable(item->text(0) + ": " + item->text(1)));
  }

  void numbers_in_brackets_have_names() {
    record::MethodSummary dense, fast;
    dense.id = "dense";
    dense.role = MethodRole::dense;
    fast.id = "a";
    fast.oracle_recall_mean = 0.826;
    fast.oracle_recall_95_mean = 0.873;
    TimingModel model;
    model.set_methods({&dense, &fast}, &dense, true);
    QCOMPARE(model.value("oracle recall", 1), QString("82.6 %"));
    QCOMPARE(model.value("recall of the keys for 95 % mass", 1), QString("87.3 %"));
  }

  void a_ratio_that_does_not_hold_is_grey() {
    record::MethodSummary dense, fast;
    dense.id = "dense";
    dense.role = MethodRole::dense;
    dense.ttft_samples = {1000, 1100, 1050};
    dense.ttft = {1050, 1025, 1075, 3};
    fast.id = "a";
    fast.ttft_samples = {500, 550, 525};
    fast.ttft = {525, 512, 537, 3};
    TimingModel model;
    const auto cell = [&](int role) {
      for (int row = 0; row < model.rowCount(); ++row)
        if (model.index(row, 0).data().toString() == "speedup over dense") return model.index(row, 2).data(role);
      return QVariant();
    };
    model.set_methods({&dense, &fast}, &dense, true);
    QCOMPARE(cell(Qt::DisplayRole).toString(), QString("2.00x [2.00–2.00]"));
    QVERIFY(!cell(Qt::ForegroundRole).isValid());
    model.set_methods({&dense, &fast}, &dense, false);
    QVERIFY(cell(Qt::DisplayRole).toString().contains("not timed in turn"));
    QCOMPARE(cell(Qt::ForegroundRole).value<QColor>(), Theme::instance().muted_text());
    for (auto* method : {&dense, &fast}) method->ttft_samples.resize(1), method->ttft.repeats = 1;
    model.set_methods({&dense, &fast}, &dense, true);
    QVERIFY(cell(Qt::DisplayRole).toString().contains("a single pass"));
    QCOMPARE(cell(Qt::ForegroundRole).value<QColor>(), Theme::instance().muted_text());
    fast.load = MachineLoad{10, 1.2, 2, 2};
    model.set_methods({&dense, &fast}, &dense, true);
    QVERIFY(cell(Qt::DisplayRole).toString().contains("on a busy machine"));
    record::RunMeta meta;
    QVERIFY(answer_sentence(meta, 4000, fast, dense).text().contains("while other work took 1.2 of 2 processors"));
    fast.load.reset();
    fast.timing_plan.emplace().layers.assign(4, {record::LayerRun::dense, 1, 1});
    model.set_methods({&dense, &fast}, &dense, true);
    QCOMPARE(cell(Qt::DisplayRole).toString(), QString("none: nothing sparse ran"));
    const QString sentence = answer_sentence(meta, 4000, fast, dense).text();
    QVERIFY2(sentence.contains("nothing sparse was timed (dense in all 4 layers)") && !sentence.contains("→"),
             qPrintable(sentence));
  }
};

QTEST_MAIN(TestOneBudget)
#include "test_one_budget.moc"
