// SPDX-License-Identifier: GPL-3.0-or-later
// Overview, Budget and Timing on a synthetic record: what they print equals the record, and hands do what they should.
#include <QComboBox>
#include <QDoubleSpinBox>
#include <QPushButton>
#include <QSignalSpy>
#include <QSlider>

#include "views/common/page_fixture.h"
#include "views/budget/budget_page.h"
#include "views/budget/budget_plot.h"
#include "views/compare/compare_page.h"
#include "views/overview/head_grid_widget.h"
#include "views/overview/overview_page.h"
#include "views/common/theme.h"
#include "views/timing/timing_model.h"
#include "views/timing/timing_page.h"
#include "views/timing/timing_plot.h"

using namespace headroom;
using namespace headroom::views;

class TestPagesViews : public QObject {
  Q_OBJECT
 private slots:
  void init() {
    selection_ = std::make_unique<Selection>();
    selection_->open_record(small_record());
    QCoreApplication::processEvents();
  }

  void a_record_that_is_not_announced_yet_has_no_style_data() {
    QTest::addColumn<bool>("theme");
    QTest::newRow("font") << false;
    QTest::newRow("theme") << true;
  }
  void a_record_that_is_not_announced_yet_has_no_style() {
    QFETCH(bool, theme);
    Selection empty;
    OverviewPage overview(&empty);
    BudgetPage budget(&empty);
    TimingPage timing(&empty);
    ComparePage compare(&empty);
    const std::initializer_list<PageBase*> pages{&overview, &budget, &timing, &compare};
    for (PageBase* page : pages) {
      page->show();
      QVERIFY(QTest::qWaitForWindowExposed(page));
    }
    empty.open_record(small_record());  // is told when control returns to the event loop
    const ThemeMode before = Theme::instance().mode();
    if (theme) Theme::instance().set_mode(before == ThemeMode::dark ? ThemeMode::light : ThemeMode::dark);
    for (PageBase* page : pages) {
      QFont large = page->font();
      large.setPointSizeF(20);
      if (!theme) page->setFont(large);
    }
    QTRY_VERIFY(timing.model()->rowCount() > 0);  // told and drawn
    Theme::instance().set_mode(before);
  }

  void without_a_run_pages_say_what_to_do() {
    Selection empty;
    OverviewPage overview(&empty);
    BudgetPage budget(&empty);
    TimingPage timing(&empty);
    for (PageBase* page : std::initializer_list<PageBase*>{&overview, &budget, &timing}) {
      show_page(*page, {900, 600});
      bool found = false;
      for (const auto* label : page->findChildren<QLabel*>())
        found = found || (label->isVisible() && label->text().contains("No run"));
      QVERIFY(found);
      QVERIFY(page->settled());
    }
    QVERIFY(budget.csv().isEmpty());
  }

  void overview_opens_heads_by_mouse_and_keyboard() {
    OverviewPage page(selection_.get());
    show_page(page, {1280, 720});
    QSignalSpy opened(&page, &OverviewPage::open_head);
    HeadGridWidget* grid = page.grid();
    QTest::mouseClick(grid, Qt::LeftButton, {}, grid->cell_rect(2, 4).center().toPoint());
    QTRY_COMPARE(selection_->state().layer, 2);
    QCOMPARE(selection_->state().head.kind, record::HeadSelector::Kind::head);
    QCOMPARE(selection_->state().head.index, 4);
    QTest::keyClick(grid, Qt::Key_Left);
    QTest::keyClick(grid, Qt::Key_Up);
    QCOMPARE(selection_->state().layer, 1);
    QCOMPARE(selection_->state().head.index, 3);
    QTest::keyClick(grid, Qt::Key_Return);
    QCOMPARE(opened.size(), 1);
    QCOMPARE(opened[0][0].toInt(), 1);
    QCOMPARE(opened[0][1].toInt(), 3);
    QTest::mouseDClick(grid, Qt::LeftButton, {}, grid->cell_rect(5, 0).center().toPoint());
    QCOMPARE(opened.size(), 2);
    QCOMPARE(opened[1][0].toInt(), 5);
    QVERIFY(grid->read_out(3, 0).contains("sliding"));
  }

  void overview_sorts_layers_by_value() {
    const auto record = small_record();
    const auto grid = load_grid(*record, *record->find_method("oracle-k64-g1"), *find_grid_statistic("captured_mass"));
    const auto order = ordered_layers(grid, LayerOrder::highest);
    QCOMPARE(order.back(), 3);  // sliding: no value
    for (std::size_t i = 0; i + 2 < order.size(); ++i)
      QVERIFY(grid.at(order[i], grid.heads - 1) >= grid.at(order[i + 1], grid.heads - 1));
    const auto statistics = record->head_statistics("oracle-k64-g1");
    QCOMPARE(grid.at(2, 1), static_cast<double>(statistics->at(2, 1, 6)));
  }

  void overview_says_what_the_record_says() {
    OverviewPage page(selection_.get());
    page.refresh_now();
    const auto* oracle = small_record()->find_method("oracle-k64-g1");
    QVERIFY(
        page.answer_text().startsWith("Oracle: On this prompt (600 tokens, synthetic, 2-core CPU) 64 keys a query ("));
    QVERIFY(page.answer_text().contains(QString::number(oracle->captured_mass_mean * 100, 'f', 1) + " % of the mass"));
    QVERIFY(page.answer_text().contains("Indexer: 64 keys"));
    QVERIFY(page.csv().startsWith("layer,kind,head,captured_mass\r\n"));
  }

  void budget_read_out_equals_the_curves() {
    BudgetPage page(selection_.get());
    show_page(page, {1280, 720});
    const auto curves = small_record()->mass_curves("dense");
    for (const std::size_t i : {20u, 33u, 50u}) {
      selection_->change([&](ViewState& state) { state.budget = static_cast<double>(curves->budgets[i]); });
      QTRY_COMPARE(page.read_out().budget, static_cast<double>(curves->budgets[i]));
      double mean = 0, worst = 1;
      int full = 0;
      for (int layer = 0; layer < 6; ++layer) {
        if (layer == 3) continue;
        mean += curves->at(layer, 6, 0)[i];
        worst = std::min<double>(worst, curves->at(layer, 6, 0)[i]);
        ++full;
      }
      QVERIFY(std::abs(page.read_out().mean - mean / full) < 1e-6);
      QVERIFY(std::abs(page.read_out().low - worst) < 1e-6);
    }
    QVERIFY(*page.read_out().for_90 <= *page.read_out().for_95);
    QVERIFY(*page.read_out().for_95 <= *page.read_out().for_99);
  }

  void axes_end_where_the_quantity_ends() {
    BudgetPlot plot;
    RecallCurves curves;
    curves.budgets = {1, 10, 99};
    curves.mean = curves.p10 = curves.low = curves.worst_head = {0.5, 0.9, 1};
    plot.set_curves(curves, 100, false);
    plot.set_markers({{1, "Oracle", "Oracle, 100 keys", 100, 1, 1, {}, true}});
    const auto ends = [&](QCPAxis::AxisType type) { return plot.axisRect(0)->axis(type)->range().upper; };
    QCOMPARE(ends(QCPAxis::atLeft), 1.0);
    QCOMPARE(ends(QCPAxis::atBottom), 100.0);
    plot.set_density_axis(true);
    QCOMPARE(ends(QCPAxis::atLeft), 1.0);
    QCOMPARE(ends(QCPAxis::atBottom), 1.0);
    // What lies on the edge is drawn whole: as many pixels of its colour right of the axes' edge as a marker has.
    plot.resize(600, 400);
    plot.replot();
    const QImage image = plot.grab().toImage();
    const QRect area = plot.axisRect(0)->rect();
    const QColor colour = Theme::instance().method(1);
    int outside = 0;
    for (int y = area.top() - 8; y < area.top() + 8; ++y)
      for (int x = area.right() + 2; x < area.right() + 8; ++x) outside += image.pixelColor(x, y) == colour;
    QVERIFY(outside > 4);
  }

  void a_budget_that_covers_the_prompt_has_no_mean() {
    BudgetPage page(selection_.get());
    show_page(page, {1280, 720});
    const double length = static_cast<double>(small_record()->length());
    selection_->change([&](ViewState& state) { state.budget = length - 1; });
    QTRY_COMPARE(page.read_out().budget, length - 1);
    QVERIFY(page.read_out().mean > 0.9);
    selection_->change([&](ViewState& state) { state.budget = length; });
    QTRY_COMPARE(page.read_out().budget, length);
    QVERIFY(std::isnan(page.read_out().mean) && std::isnan(page.read_out().worst_head));
  }

  void budget_follows_a_drag_at_once_as_one_undo_step() {
    BudgetPage page(selection_.get());
    show_page(page, {1280, 720});
    const double before = selection_->state().budget;
    BudgetPlot* plot = page.plot();
    const auto at = [&](double keys) {
      return QPoint(static_cast<int>(std::lround(plot->pixel_of(keys))), plot->height() / 3);
    };
    QTest::mousePress(plot, Qt::LeftButton, {}, at(100));
    QVERIFY(std::abs(page.read_out().budget - 100) < 4);
    const double recall = page.read_out().mean;
    QMouseEvent move(QEvent::MouseMove, at(300), plot->mapToGlobal(at(300)), Qt::NoButton, Qt::LeftButton, {});
    QApplication::sendEvent(plot, &move);
    QVERIFY(std::abs(page.read_out().budget - 300) < 8);
    QVERIFY(page.read_out().mean > recall);
    QTest::mouseRelease(plot, Qt::LeftButton, {}, at(300));
    QCoreApplication::processEvents();
    selection_->undo();
    QCOMPARE(selection_->state().budget, before);
    QTRY_COMPARE(page.read_out().budget, before);
  }

  void budget_units_mean_the_same_budget() {
    BudgetPage page(selection_.get());
    show_page(page, {1280, 720});
    // The page has others: those of sweeps and of a number to ship.
    const auto named = [&]<typename Widget>(Widget*, const char* name) {
      for (auto* widget : page.findChildren<Widget*>())
        if (widget->accessibleName() == name) return widget;
      return static_cast<Widget*>(nullptr);
    };
    auto* unit = named(static_cast<QComboBox*>(nullptr), "Unit of the budget");
    auto* spin = named(static_cast<QDoubleSpinBox*>(nullptr), "Budget");
    QVERIFY(unit && spin);
    unit->setCurrentIndex(1);
    spin->setValue(10);
    QCOMPARE(selection_->state().budget, 60.0);
    spin->setValue(10.1);  // rounded up
    QCOMPARE(selection_->state().budget, 61.0);
    unit->setCurrentIndex(2);
    spin->setValue(0.95);
    QCOMPARE(selection_->state().budget, *page.read_out().for_95);
    QVERIFY(page.read_out().mean >= 0.95 - 1e-6);
    unit->setCurrentIndex(0);
    QCOMPARE(spin->value(), *page.read_out().for_95);
    auto* slider = page.findChildren<QSlider*>().first();
    slider->setValue(slider->maximum());
    QCOMPARE(selection_->state().budget, 600.0);
    slider->setValue(0);
    QCOMPARE(selection_->state().budget, 1.0);
  }

  void run_this_budget_names_the_budget() {
    BudgetPage page(selection_.get());
    show_page(page, {1280, 720});
    selection_->change([](ViewState& state) { state.budget = 128; });
    QTRY_COMPARE(page.read_out().budget, 128.0);
    QSignalSpy wanted(&page, &BudgetPage::run_budget_requested);
    for (auto* button : page.findChildren<QPushButton*>())
      if (button->text() == "Run 128 keys") QTest::mouseClick(button, Qt::LeftButton);
    QCOMPARE(wanted.size(), 1);
    QCOMPARE(wanted[0][0].toInt(), 128);
    QVERIFY(page.suggestions_csv().startsWith("layer,keys,density,worst_head_mass_recall\r\n0,"));
    QCOMPARE(page.suggestions_csv().count('\n'), 6);  // a header and five full layers
  }

  void densities_are_exact() {
    QVERIFY(std::abs(density_of(4096, 512) - 1966336.0 / 8390656.0) < 1e-12);
    QCOMPARE(density_of(100, 100), 1.0);
    for (const double k : {1.0, 64.0, 512.0, 4096.0})
      QVERIFY(std::abs(budget_of_density(4096, density_of(4096, k)) - k) < 1e-6);
  }

  void timing_table_equals_the_record() {
    TimingPage page(selection_.get());
    show_page(page, {1280, 720});
    const auto* dense = small_record()->find_method("dense");
    const TimingModel* model = page.model();
    QCOMPARE(model->value("timed passes", 0), QString("3"));
    QCOMPARE(model->value("speedup over dense", 0), QString("baseline"));
    QVERIFY(model->value("speedup over dense", 1).startsWith("none"));
    QVERIFY(model->value("speedup over dense", 2).contains("see note"));
    QCOMPARE(model->value("note", 2), QString("reference path, not optimised"));
    QVERIFY(model->value("score", 0) == QStringLiteral("–") && model->value("score", 2).contains("ms"));
    const double attention = dense->stages[4].median, bound = dense->ttft.median / (dense->ttft.median - attention);
    QCOMPARE(*amdahl_bound(*dense), bound);
    QVERIFY(page.bound_text().contains(QString::number(bound, 'f', 2) + "x"));
    QVERIFY(page.csv().contains("attention,"));
    auto* view = page.findChildren<QComboBox*>().first();
    view->setCurrentIndex(2);
    emit view->activated(2);
    QCoreApplication::processEvents();  // the selection tells it in the next round
    QCOMPARE(page.plot()->num_bars(), 6);
  }

  void plans_and_the_product_over_libtorch() {
    record::MethodSummary dense, fast, oracle;
    dense.id = dense.name = "dense";
    dense.role = MethodRole::dense;
    dense.ttft = {400, 400, 400, 3};
    fast.id = "indexer-k64-g1";
    fast.name = "indexer";
    fast.ttft = {200, 200, 200, 3};
    oracle = fast;
    oracle.id = "oracle-k64-g1";
    oracle.name = "oracle";
    oracle.role = MethodRole::reference;
    QVERIFY(product_text(fast, dense).isEmpty());  // LibTorch was not timed
    dense.baselines.push_back({"libtorch", {600, 600, 600, 3}});
    QCOMPARE(product_text(fast, dense), QStringLiteral("3.00x = 1.50x kernel × 2.00x sparsity"));
    QCOMPARE(product_text(dense, dense), QString("1.50x"));
    QCOMPARE(product_text(oracle, dense), QString("takes 33 % of it"));
    fast.label = "reference path, not optimised";
    QVERIFY(product_text(fast, dense).isEmpty());

    QVERIFY(!plan_counts(fast) && plan_counts_text(fast).isEmpty());  // a record of an earlier version
    auto& plan = fast.timing_plan.emplace();
    plan.layers.assign(6, {record::LayerRun::sparse, 1, 1});
    plan.layers[5].run = record::LayerRun::other;
    plan.density = fast.density = 0.25;
    QVERIFY(plan_counts_text(fast).isEmpty() && !plan_counts(fast)->timing_only);
    plan.layers[0].run = plan.layers[3].run = record::LayerRun::dense;
    plan.density = 0.55;
    QCOMPARE(plan_counts_text(fast), QString("2 of 5 layers dense"));
    QVERIFY(plan_counts(fast)->timing_only);
    for (std::size_t i = 0; i < 5; ++i) plan.layers[i].run = record::LayerRun::dense;
    QCOMPARE(plan_counts_text(fast), QString("dense in all 5 layers"));
  }

  void an_optimised_path_gets_its_speedup() {
    record::MethodSummary dense, fast;
    dense.id = dense.name = "dense";
    dense.role = MethodRole::dense;
    dense.ttft = {6700, 6700, 6700, 3};
    fast.id = "indexer-k512-g1";
    fast.name = "indexer";
    fast.ttft = {4100, 4100, 4100, 3};
    QCOMPARE(speedup_text(fast, dense, false), QString("1.63x, not timed in turn"));
    dense.ttft_samples = {6700, 6700, 6700};
    fast.ttft_samples = {4100, 4100, 4100};
    QCOMPARE(speedup_text(fast, dense, true), QString("1.63x [1.63–1.63]"));
    fast.role = MethodRole::reference;
    QCOMPARE(speedup_text(fast, dense, true), QString("none: a reference"));
  }

  void hidden_pages_wait() {
    TimingPage page(selection_.get());
    show_page(page, {800, 600});
    page.hide();
    selection_->change([](ViewState& state) { state.method = "dense"; });
    QCoreApplication::processEvents();
    QVERIFY(!page.settled());
    page.show();
    QVERIFY(page.settled());
    selection_->change([](ViewState& state) { state.keys = {3}; });  // nothing that the page draws
    page.hide();
    QCoreApplication::processEvents();
    QVERIFY(page.settled());
  }

 private:
  std::unique_ptr<Selection> selection_;
};

QTEST_MAIN(TestPagesViews)
#include "test_pages_views.moc"
