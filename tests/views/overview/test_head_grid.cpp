// SPDX-License-Identifier: GPL-3.0-or-later
// Layers of other kinds and sizes in the head grid and in what follows the selected head; methods of one policy with
// different settings are told apart; looks are told apart.
#include <QComboBox>
#include <QImage>
#include <QPainter>
#include <QSignalSpy>
#include <cmath>
#include <set>

#include "views/budget/budget_page.h"
#include "views/budget/budget_plot.h"
#include "views/common/format.h"
#include "views/common/page_base.h"
#include "views/common/page_fixture.h"
#include "views/common/record_queries.h"
#include "views/common/theme.h"
#include "views/overview/head_grid_widget.h"
#include "views/overview/overview_page.h"
#include "views/timing/timing_model.h"
#include "views/timing/timing_page.h"

using namespace headroom;
using namespace headroom::views;

namespace {

/// Full layers at 1 (six heads, two KV heads), 3 (four heads, four KV heads) and 5 (as 1).
RecordPtr mixed_record() {
  static const RecordPtr record = [] {
    test::SyntheticOptions options;
    options.tokens = 120;
    options.other_layers = {{0, {"linear", 16, 16, 64, 0, 0.125}},
                            {2, {"sliding", 6, 2, 32, 64, 0.2}},
                            {3, {"full", 4, 4, 16, 0, 0.25}},
                            {4, {"sliding", 6, 2, 32, 64, 0.2}}};
    return make_record("mixed.h5", options);
  }();
  return record;
}

QImage picture_of(HeadGridWidget* grid) {
  QImage image(grid->size(), QImage::Format_ARGB32);
  image.fill(Qt::transparent);
  grid->render(&image);
  return image;
}

}  // namespace

class TestHeadGrid : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() { Theme::instance().set_mode(ThemeMode::light); }

  void layers_that_are_not_full_have_no_cells() {
    const auto& method = *mixed_record()->find_method("oracle-k64-g1");
    for (const char* key : {"captured_mass", "oracle_recall"}) {
      const GridData data = load_grid(*mixed_record(), method, *find_grid_statistic(key));
      QCOMPARE(data.heads, 7);
      QVERIFY(!data.same_groups());
      for (const int layer : {0, 2, 4})
        for (int head = 0; head < 7; ++head) QVERIFY(!data.has_cell(layer, head) && std::isnan(data.at(layer, head)));
      QVERIFY(data.has_cell(3, 3) && !data.has_cell(3, 4) && data.has_cell(3, data.mean()));
      QVERIFY(std::isnan(data.at(3, 4)) && std::isfinite(data.at(3, 3)) && std::isfinite(data.at(3, data.mean())));
      QCOMPARE(data.group_of(1, 4), 1);
      QCOMPARE(data.group_of(3, 2), 2);
    }
  }

  void clicks_and_keys_go_to_full_layers_alone() {
    Selection selection;
    selection.open_record(mixed_record());
    OverviewPage page(&selection);
    show_page(page, {1280, 720});
    HeadGridWidget* grid = page.grid();
    const auto at = [&](int layer, int head) { return grid->cell_rect(layer, head).center().toPoint(); };
    const auto head = [&] { return selection.state().head.index; };
    QVERIFY(grid->cell_rect(2, 0).isEmpty() && grid->cell_rect(3, 4).isEmpty());
    QTest::mouseClick(grid, Qt::LeftButton, {}, at(1, 5));
    QTRY_COMPARE(selection.state().layer, 1);
    QCOMPARE(head(), 5);
    const QPoint between((at(1, 0).x() + at(3, 0).x()) / 2, at(1, 2).y());  // the band of layer 2
    QTest::mouseClick(grid, Qt::LeftButton, {}, between);
    const QPoint blank(at(3, 0).x(), at(1, 5).y());  // where layer 3 has no head
    QTest::mouseClick(grid, Qt::LeftButton, {}, blank);
    QSignalSpy opened(&page, &OverviewPage::open_head);
    QTest::mouseDClick(grid, Qt::LeftButton, {}, between);
    QCOMPARE(selection.state().layer, 1);
    QCOMPARE(head(), 5);
    QCOMPARE(opened.size(), 0);
    QTest::keyClick(grid, Qt::Key_Right);
    QTRY_COMPARE(grid->current_layer(), 3);
    QCOMPARE(head(), 3);  // the last that it has
    QTest::keyClick(grid, Qt::Key_Down);
    QVERIFY(selection.state().head.kind == record::HeadSelector::Kind::mean);
    QTest::keyClick(grid, Qt::Key_Up);
    QCOMPARE(head(), 3);
    QTest::keyClick(grid, Qt::Key_Home);
    QCOMPARE(selection.state().layer, 1);
    QTest::keyClick(grid, Qt::Key_Left);
    QCOMPARE(selection.state().layer, 1);
    QTest::keyClick(grid, Qt::Key_End);
    QCOMPARE(selection.state().layer, 5);
    QVERIFY(grid->read_out(0, 6).contains("linear") && grid->read_out(2, 6).contains("sliding"));
    QVERIFY(grid->read_out(1, 4).contains("KV head 1") && !grid->read_out(3, 2).contains("KV head"));
    QVERIFY(grid->read_out(3, 5).isEmpty());
    QVERIFY(page.csv().contains("\r\n3,full,3,") && !page.csv().contains("\r\n3,full,4,") &&
            !page.csv().contains("sliding"));
  }

  void the_picture_has_bands_blanks_and_brackets() {
    Selection selection;
    selection.open_record(mixed_record());
    OverviewPage page(&selection);
    show_page(page, {1280, 720});
    const QImage image = picture_of(page.grid());
    const auto colours = [&](const QRectF& where) {
      std::set<QRgb> found;
      const QRect box = where.toRect().adjusted(2, 2, -2, -2);
      for (int y = box.top(); y <= box.bottom(); ++y)
        for (int x = box.left(); x <= box.right(); ++x) found.insert(image.pixel(x, y));
      return found;
    };
    const auto cell = [&](int layer, int head) { return page.grid()->cell_rect(layer, head); };
    const QRgb background = Theme::instance().background().rgb();
    const QRectF blank(cell(3, 0).left(), cell(1, 4).top(), cell(3, 0).width(), cell(1, 4).height());
    QVERIFY(colours(blank) == std::set<QRgb>{background});
    const QRectF band(cell(1, 0).right(), cell(1, 0).top(), cell(3, 0).left() - cell(1, 0).right(), 20);
    QVERIFY(colours(band).contains(Theme::instance().border().rgb()));
    // The layer with two KV heads has a bracket at its left edge, the one without sharing has none.
    const auto edge = [&](int layer) {
      const QRectF box = cell(layer, 1);
      return colours(QRectF(box.left() - 2, box.top() + 2, 6, box.height() - 4))
          .contains(Theme::instance().map_outline().rgb());
    };
    QVERIFY(edge(1) && !edge(3));
  }

  void a_layer_with_fewer_heads_takes_the_mean() {
    Selection selection;
    selection.open_record(mixed_record());
    selection.change([](ViewState& s) { s.layer = 1, s.head = {record::HeadSelector::Kind::head, 5}; });
    selection.change([](ViewState& s) { s.layer = 3; });
    QVERIFY(selection.state().head.kind == record::HeadSelector::Kind::mean);
    selection.change([](ViewState& s) { s.head = {record::HeadSelector::Kind::head, 3}; });
    selection.change([](ViewState& s) { s.layer = 5; });
    QCOMPARE(selection.state().head.index, 3);
  }

  void two_settings_of_one_policy_are_two_methods() {
    test::SyntheticOptions options;
    options.tokens = 100;
    options.layers = 2;
    options.methods = {"dense", "indexer-k32-g1", "indexer-k32-g1-b", "indexer-k64-g1"};
    const RecordPtr record = make_record("settings.h5", options);
    Selection selection;
    selection.open_record(record);
    selection.change([](ViewState& s) { s.budget = 32, s.method = "dense"; });
    const auto shown = methods_near_budget(*record, selection.state());
    QCOMPARE(shown.size(), std::size_t{2});
    QCOMPARE(shown[0]->id, std::string("indexer-k32-g1"));
    QCOMPARE(shown[1]->id, std::string("indexer-k32-g1-b"));
    std::set<QString> labels;
    for (const auto& method : record->methods()) labels.insert(method_label(*record, method));
    QCOMPARE(labels.size(), std::size_t{4});
    QCOMPARE(method_label(*record, *shown[1]), QString("Indexer, 32 keys (variant b)"));
    QCOMPARE(method_label(*record, record->methods()[0]), QString("Dense"));

    OverviewPage overview(&selection);
    overview.refresh_now();
    QCOMPARE(overview.answer_text().count("keys a query"), 2);
    QVERIFY(overview.answer_text().contains("\nIndexer (variant b): "));
    TimingPage timing(&selection);
    timing.refresh_now();
    std::set<QString> titles;
    for (int column = 1; column < timing.model()->columnCount(); ++column)
      titles.insert(timing.model()->headerData(column, Qt::Horizontal, Qt::DisplayRole).toString());
    QCOMPARE(static_cast<int>(titles.size()), timing.model()->columnCount() - 1);
  }

  void methods_with_the_same_parameters_are_told_apart_by_id() {
    record::MethodSummary one, two;
    one.name = two.name = "other";
    one.title = two.title = "Other";
    one.id = "other-k8-g1";
    two.id = "other-k8-g1-0f";
    const std::vector<MethodPtr> both = {&one, &two};
    QCOMPARE(method_setting(one, both), QString(" (other-k8-g1)"));
    QCOMPARE(method_setting(two, both), QString(" (other-k8-g1-0f)"));
    QVERIFY(method_setting(one, {&one}).isEmpty());
  }

  void looks_are_told_apart() {
    for (const ThemeMode mode : {ThemeMode::light, ThemeMode::dark}) {
      Theme::instance().set_mode(mode);
      const QColor background = Theme::instance().background();
      const auto luminance = [](const QColor& c) {
        const auto linear = [](double v) { return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4); };
        return 0.2126 * linear(c.redF()) + 0.7152 * linear(c.greenF()) + 0.0722 * linear(c.blueF());
      };
      for (int a = 0; a < num_method_looks; ++a) {
        const QColor one = Theme::instance().method(a);
        const double l = luminance(one), b = luminance(background);
        QVERIFY2((std::max(l, b) + 0.05) / (std::min(l, b) + 0.05) > 4, qPrintable(one.name()));
        for (int other = 0; other < a; ++other) {
          const QColor two = Theme::instance().method(other);
          const double distance = std::hypot(one.red() - two.red(), one.green() - two.green(), one.blue() - two.blue());
          QVERIFY2(distance > 45, qPrintable(one.name() + " " + two.name()));
          const auto mark = method_marker(a, 9, true), other_mark = method_marker(other, 9, true);
          QVERIFY(mark.shape() != other_mark.shape() || mark.customPath() != other_mark.customPath());
          QVERIFY(method_mark(a, true) != method_mark(other, true));
        }
      }
    }
    Theme::instance().set_mode(ThemeMode::light);
    QCOMPARE(Theme::instance().method(0), QColor(0xff454c55));  // the first five as they always were
    QCOMPARE(Theme::instance().method(1), QColor(0xff0b62b0));
    QCOMPARE(Theme::instance().method(4), QColor(0xff7d5aa6));
    QCOMPARE(Theme::instance().mass(), Theme::instance().method(1));
  }
};

QTEST_MAIN(TestHeadGrid)
#include "test_head_grid.moc"
