// SPDX-License-Identifier: GPL-3.0-or-later
// Compare: what it sets side by side, what it refuses, and what the keys do.
#include <QLabel>
#include <QTableView>
#include <QToolButton>

#include "views/common/page_fixture.h"
#include "views/common/theme.h"
#include "views/compare/compare_chart.h"
#include "views/compare/compare_maps.h"
#include "views/compare/compare_page.h"
#include "views/map/attention_map_widget.h"
#include "views/timing/timing_plot.h"

using namespace headroom;
using namespace headroom::views;

namespace {

/// Another text of the same length, dense alone.
RecordPtr other_text() {
  static const RecordPtr record = [] {
    test::SyntheticOptions options;
    options.methods = {"dense"};
    options.seed = 7;
    return make_record("other.h5", options);
  }();
  return record;
}

CompareSide side(const RecordPtr& run, const char* method) {
  return {run, run->find_method(method)};
}

}  // namespace

class TestPagesCompare : public QObject {
  Q_OBJECT
 private slots:
  void init() {
    selection_ = std::make_unique<Selection>();
    selection_->open_record(small_record());
    QCoreApplication::processEvents();
  }

  void begins_with_dense_against_the_chosen_method() {
    ComparePage page(selection_.get());
    page.refresh_now();
    QCOMPARE(page.baseline().method->id, std::string("dense"));
    QCOMPARE(page.candidate().method->id, selection_->state().method.toStdString());
    page.set_sides(side(small_record(), "oracle-k64-g1"), side(small_record(), "indexer-k64-g1"));
    QCOMPARE(selection_->state().baseline, QString("oracle-k64-g1"));
    QCOMPARE(selection_->state().method, QString("indexer-k64-g1"));
    page.refresh_now();
    QCOMPARE(page.candidate().method->id, std::string("indexer-k64-g1"));
  }

  void answers_to_different_prompts_are_not_compared() {
    selection_->add_record(other_text());
    ComparePage page(selection_.get());
    show_page(page, {1280, 720});
    page.set_sides(side(small_record(), "dense"), side(other_text(), "dense"));
    QCoreApplication::processEvents();
    QStringList said;
    for (auto* label : page.findChildren<QLabel*>())
      if (label->isVisible()) said << label->text();
    const QString all = said.join('\n');
    QVERIFY2(all.contains("another prompt: not compared"), qPrintable(all));
    QVERIFY(!all.contains("same as dense") && !all.contains("first differs from dense"));
    page.set_sides(side(small_record(), "dense"), side(small_record(), "oracle-k64-g1"));
    QCoreApplication::processEvents();
    bool compared = false;
    for (auto* label : page.findChildren<QLabel*>())
      compared |= label->text().contains("same as dense") || label->text().contains("first differs from dense");
    QVERIFY(compared);
  }

  void keys_that_were_never_attended_to_are_grey() {
    selection_->change([](ViewState& s) { s.layer = 1, s.method = "oracle-k64-g1", s.viewport = {560, 600, 0, 40}; });
    ComparePage page(selection_.get());
    show_page(page, {1280, 720});
    page.set_sides(side(small_record(), "dense"), side(small_record(), "oracle-k64-g1"));
    QTRY_VERIFY_WITH_TIMEOUT(page.settled() && page.maps()->second()->data(), 20000);
    QTest::qWait(50);
    QTRY_VERIFY_WITH_TIMEOUT(page.settled(), 20000);
    auto* candidate = page.maps()->second();
    const auto& data = *candidate->data();
    QVERIFY(data.support);
    const QRect area = candidate->plot()->axisRect(1)->rect();
    const auto pixel = [&](const AttentionMapWidget* map, std::int64_t query, std::int64_t key) {
      return map->plot()->grab().toImage().pixel(area.left() + int((double(key) + 0.5) / 40 * area.width()),
                                                 area.top() + int((double(query - 560) + 0.5) / 40 * area.height()));
    };
    const QRgb grey = Theme::instance().border().rgb();
    int attended = 0, other = 0;
    for (std::int64_t key = 0; key < 40; ++key) {
      const bool selected = data.support->test(590, key);
      (selected ? attended : other)++;
      QCOMPARE(pixel(candidate, 590, key) == grey, !selected);
      QVERIFY(pixel(page.maps()->first(), 590, key) != grey);  // dense reads them all
    }
    QVERIFY(attended > 0 && other > 0);
    bool said = false;
    for (auto* label : page.findChildren<QLabel*>()) said |= label->text().contains("grey: not attended to");
    QVERIFY(said);
    // A difference is of all keys, and says so.
    page.maps()->set_mode(CompareMode::difference);
    said = false;
    for (auto* label : page.findChildren<QLabel*>())
      said |= label->text().contains("those that were not attended to as well");
    QVERIFY(said);
    QVERIFY(selection_->state().display.compare_mode == CompareMode::difference);
    QTest::qWait(5);  // a change and its undoing in one tick are none
    selection_->undo();
    QTRY_VERIFY(page.maps()->mode() == CompareMode::side_by_side);
  }

  void differing_tokens_are_refused_with_the_reason() {
    const auto a = side(small_record(), "oracle-k64-g1"), b = side(small_record(), "indexer-k64-g1");
    QVERIFY(map_refusal(a, b, 1).isEmpty());
    QVERIFY(map_refusal(a, a, 1).contains("same"));
    QVERIFY(map_refusal(a, b, 99).contains("no layer 99"));
    const QString why = map_refusal(a, side(other_text(), "dense"), 1);
    QVERIFY2(why.contains("differ from position"), qPrintable(why));

    selection_->open_record(other_text());
    selection_->open_record(small_record());
    ComparePage page(selection_.get());
    show_page(page, {1280, 720});
    page.set_sides(a, side(other_text(), "dense"));
    page.maps()->set_mode(CompareMaps::Mode::side_by_side);
    QVERIFY(page.maps()->refusal().isEmpty());
    QVERIFY(page.maps()->first()->isVisible() && page.maps()->second()->isVisible());
    for (const auto mode :
         {CompareMaps::Mode::difference, CompareMaps::Mode::diagonal_split, CompareMaps::Mode::flicker}) {
      page.maps()->set_mode(mode);
      QVERIFY(page.maps()->refusal().contains("differ from position"));
      QVERIFY(!page.maps()->first()->isVisible() && !page.maps()->second()->isVisible());
    }
    page.set_sides(a, b);
    QVERIFY(page.maps()->refusal().isEmpty());
    QVERIFY(page.maps()->first()->isVisible());
  }

  void difference_and_split_combine_the_maps() {
    ComparePage page(selection_.get());
    show_page(page, {1280, 720});
    page.set_sides(side(small_record(), "dense"), side(small_record(), "indexer-k64-g1"));
    page.maps()->set_mode(CompareMaps::Mode::difference);
    QTRY_COMPARE(page.maps()->first()->style_now().layout, MapLayout::difference);
    QTRY_VERIFY(page.settled());
    page.maps()->set_mode(CompareMaps::Mode::diagonal_split);
    QTRY_COMPARE(page.maps()->first()->style_now().layout, MapLayout::diagonal_split);
    page.maps()->set_mode(CompareMaps::Mode::side_by_side);
    QTRY_COMPARE(page.maps()->first()->style_now().layout, MapLayout::single);
  }

  void x_flickers_while_held() {
    ComparePage page(selection_.get());
    show_page(page, {1280, 720});
    CompareMaps* maps = page.maps();
    maps->set_mode(CompareMaps::Mode::flicker);
    QVERIFY(!maps->shows_candidate());
    QTest::keyPress(maps, Qt::Key_X);
    QVERIFY(maps->shows_candidate());
    QTest::keyRelease(maps, Qt::Key_X);
    QVERIFY(!maps->shows_candidate());
  }

  void numbers_equal_the_record() {
    const auto a = side(small_record(), "oracle-k64-g1"), b = side(small_record(), "indexer-k64-g1");
    const auto quantities = compare_quantities();
    const auto points = compare_points(a, b, quantities[0]);
    QCOMPARE(points.size(), std::size_t(5));  // the sliding layer has no number
    for (const auto& point : points) {
      const auto layer = static_cast<std::size_t>(point.layer);
      QCOMPARE(point.baseline, a.method->captured_mass_per_layer[layer]);
      QCOMPARE(point.candidate, b.method->captured_mass_per_layer[layer]);
    }
    QVERIFY(compare_summary(points, quantities[0]).startsWith("Candidate − baseline: mean "));
    QVERIFY(compare_summary(compare_points(side(small_record(), "dense"), b, quantities[1]), quantities[1])
                .startsWith("Only the candidate"));
    const auto heads = compare_points(a, b, quantities[3]);
    QCOMPARE(heads.size(), std::size_t(5 * 6));
  }

  void shares_end_at_0_and_100_percent() {
    CompareChart chart;
    for (const auto& quantity : compare_quantities()) {
      const bool share = quantity.kind == CompareQuantity::Kind::heads
                             ? quantity.statistic->unit == GridStatistic::Unit::share
                             : quantity.kind != CompareQuantity::Kind::output_drift;
      chart.set_points({{0, 0, 0.001, 0.99}, {1, 1, 0.5, 1.0}, {2, 2, 0.0, 0.75}}, quantity, "a", "b", 1);
      if (!share) continue;
      QCOMPARE(chart.yAxis->range().upper, 1.0);
      QCOMPARE(chart.yAxis->range().lower, 0.0);
      if (quantity.kind == CompareQuantity::Kind::heads) QCOMPARE(chart.xAxis->range().upper, 1.0);
      for (const QString& label : chart.yAxis->tickVectorLabels())
        QVERIFY2(!label.startsWith("10") || label == "10 %" || label == "100 %", qPrintable(label));
    }
  }

  void numbers_on_axes_follow_no_locale() {
    const QLocale before;
    QLocale::setDefault(QLocale(QLocale::German, QLocale::Germany));
    CompareChart chart;
    TimingPlot timing;
    for (QCustomPlot* plot : {static_cast<QCustomPlot*>(&chart), static_cast<QCustomPlot*>(&timing)})
      QVERIFY(plot->locale().decimalPoint() == ".");
    QLocale::setDefault(before);
  }

  void a_click_in_the_chart_chooses_the_layer() {
    ComparePage page(selection_.get());
    show_page(page, {1280, 720});
    CompareChart* chart = page.chart();
    chart->replot();
    const QPoint at(static_cast<int>(chart->xAxis->coordToPixel(4)), chart->axisRect()->center().y());
    QTest::mouseClick(chart, Qt::LeftButton, {}, at);
    QCOMPARE(selection_->state().layer, 4);
  }

  void a_narrow_page_shows_maps_or_details() {
    ComparePage page(selection_.get());
    show_page(page, {720, 640});
    QVERIFY(page.minimumSizeHint().width() <= 720);
    QVERIFY(page.maps()->isVisible());
    auto* table = page.findChild<QTableView*>();
    QVERIFY(!table->isVisible());
    for (auto* button : page.findChildren<QToolButton*>())
      if (button->isVisible() && button->text() == "Details and answers") QTest::mouseClick(button, Qt::LeftButton);
    QVERIFY(table->isVisible() && !page.maps()->isVisible());
    page.resize(1400, 900);
    QTRY_VERIFY(table->isVisible() && page.maps()->isVisible());
  }

  void metadata_shows_differences_only_when_asked() {
    ComparePage page(selection_.get());
    page.refresh_now();
    MetadataModel* model = page.metadata();
    const int all = model->rowCount();
    model->set_differences_only(true);
    QVERIFY(model->rowCount() > 0 && model->rowCount() < all);
    for (int row = 0; row < model->rowCount(); ++row)
      QVERIFY(model->index(row, 1).data(Qt::DisplayRole) != model->index(row, 2).data(Qt::DisplayRole));
    QVERIFY(page.csv().startsWith("layer,head,baseline dense,candidate "));
  }

 private:
  std::unique_ptr<Selection> selection_;
};

QTEST_MAIN(TestPagesCompare)
#include "test_pages_compare.moc"
