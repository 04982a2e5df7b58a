// SPDX-License-Identifier: GPL-3.0-or-later
// Compare with up to four candidates: equal squares, each mode for all or the chosen one, refusals that say whose,
// undo, and figures and numbers that hold them all.
#include <QBuffer>
#include <QComboBox>
#include <QLabel>
#include <QPainter>
#include <QSvgGenerator>
#include <QToolButton>

#include "views/common/format.h"
#include "views/common/page_fixture.h"
#include "views/compare/compare_chart.h"
#include "views/compare/compare_maps.h"
#include "views/compare/compare_page.h"
#include "views/map/attention_map_widget.h"
#include "views/overview/answer_cards.h"

using namespace headroom;
using namespace headroom::views;

namespace {

/// Dense and five sparse settings.
RecordPtr many_methods() {
  static const RecordPtr record = [] {
    test::SyntheticOptions options;
    options.tokens = 300;
    options.layers = 3;
    options.methods = {"dense",          "oracle-k16-g1",  "oracle-k64-g1",
                       "indexer-k16-g1", "indexer-k64-g1", "indexer-k128-g1"};
    return make_record("many.h5", options);
  }();
  return record;
}

RecordPtr another_text() {
  static const RecordPtr record = [] {
    test::SyntheticOptions options;
    options.tokens = 300;
    options.layers = 3;
    options.methods = {"dense"};
    options.seed = 9;
    return make_record("another.h5", options);
  }();
  return record;
}

CompareSide one(const RecordPtr& run, const char* method) {
  return {run, run->find_method(method)};
}
std::vector<CompareSide> four() {
  const RecordPtr run = many_methods();
  return {one(run, "oracle-k16-g1"), one(run, "oracle-k64-g1"), one(run, "indexer-k16-g1"), one(run, "indexer-k64-g1")};
}

}  // namespace

class TestCompareMany : public QObject {
  Q_OBJECT
  std::unique_ptr<Selection> selection_;

  static int visible_maps(const ComparePage& page) {
    int count = 0;
    for (const auto* map : page.findChildren<AttentionMapWidget*>()) count += map->isVisible() ? 1 : 0;
    return count;
  }
  static QString visible_words(const ComparePage& page) {
    QStringList words;
    for (const auto* label : page.findChildren<QLabel*>())
      if (label->isVisible()) words << label->text();
    return words.join('\n');
  }

 private slots:
  void init() {
    selection_ = std::make_unique<Selection>();
    selection_->open_record(many_methods());
    QCoreApplication::processEvents();
  }

  void takes_up_to_four_and_is_one_step_of_undo() {
    ComparePage page(selection_.get());
    show_page(page, {1280, 800});
    const ViewState before = selection_->state();
    auto sides = four();
    sides.push_back(one(many_methods(), "indexer-k128-g1"));  // a fifth
    sides.insert(sides.begin() + 1, sides.front());           // and one twice
    page.set_sides(one(many_methods(), "dense"), sides);
    QCOMPARE(page.candidates().size(), std::size_t{4});
    QTest::qWait(5);
    QVERIFY(page.candidates() == four());  // the state says the same as the page
    QCOMPARE(visible_maps(page), 5);
    QCOMPARE(page.chart()->series().size(), std::size_t{4});
    selection_->undo();
    QTRY_COMPARE(page.candidates().size(), std::size_t{1});
    QVERIFY(selection_->state() == before);
    QTRY_COMPARE(visible_maps(page), 2);
    selection_->redo();
    QTRY_COMPARE(page.candidates().size(), std::size_t{4});
  }

  void buttons_add_and_take_away() {
    ComparePage page(selection_.get());
    show_page(page, {1280, 800});
    const auto button = [&](const QString& name) {
      for (auto* one : page.findChildren<QToolButton*>())
        if (one->accessibleName() == name) return one;
      return static_cast<QToolButton*>(nullptr);
    };
    for (std::size_t count = 2; count <= 4; ++count) {
      QTest::mouseClick(button("Add a candidate"), Qt::LeftButton);
      QCOMPARE(page.candidates().size(), count);
    }
    QVERIFY(!button("Add a candidate")->isVisible());
    const CompareSide third = page.candidates()[2];
    QTest::mouseClick(button("Take candidate 2 away"), Qt::LeftButton);
    QCOMPARE(page.candidates().size(), std::size_t{3});
    QVERIFY(page.candidates()[1] == third);
    QComboBox* last = nullptr;
    for (auto* box : page.findChildren<QComboBox*>())
      if (box->accessibleName() == "Candidate 3") last = box;
    QVERIFY(last && last->isVisible());
    for (int i = 0; i < last->count(); ++i)
      if (last->itemText(i).contains("128")) {
        last->setCurrentIndex(i);
        emit last->activated(i);
      }
    QCOMPARE(page.candidates()[2].method->id, std::string("indexer-k128-g1"));
  }

  void maps_are_squares_of_one_size() {
    ComparePage page(selection_.get());
    for (const QSize size : {QSize(1280, 800), QSize(1600, 1000), QSize(1000, 700)}) {
      show_page(page, size);
      page.set_sides(one(many_methods(), "dense"), four());
      QTRY_VERIFY_WITH_TIMEOUT(page.settled(), 30000);
      const auto sides = [&] {
        QVector<QSize> list;
        for (auto* map : page.maps()->pictured()) {
          map->plot()->replot();
          list << map->plot()->axisRect(1)->rect().size();
        }
        return list;
      };
      QTRY_VERIFY_WITH_TIMEOUT(
          [&] {
            const auto list = sides();
            return std::all_of(list.begin(), list.end(), [&](QSize one) {
              return std::abs(one.width() - one.height()) <= 2 && std::abs(one.width() - list.front().width()) <= 2;
            });
          }(),
          5000);
      for (const auto* map : page.maps()->pictured()) {
        QVERIFY(map->plot()->axisRect(1)->rect().width() > 60);
        const QRect in_grid(map->mapTo(page.maps()->grid(), QPoint()), map->size());
        QVERIFY(page.maps()->grid()->rect().contains(in_grid));
      }
    }
  }

  void zoom_and_colours_are_locked() {
    ComparePage page(selection_.get());
    show_page(page, {1280, 800});
    page.set_sides(one(many_methods(), "dense"), four());
    QTRY_VERIFY_WITH_TIMEOUT(page.settled(), 30000);
    const QCPRange whole = page.maps()->first()->plot()->axisRect(1)->axis(QCPAxis::atBottom)->range();
    QTest::keyClick(page.maps()->first(), Qt::Key_Plus);
    QTRY_VERIFY(page.maps()->first()->plot()->axisRect(1)->axis(QCPAxis::atBottom)->range().size() < whole.size());
    selection_->change([](ViewState& state) { state.colour_min = 1e-4; });
    QTRY_VERIFY_WITH_TIMEOUT(page.settled(), 30000);
    for (auto* map : page.maps()->pictured()) {
      QCOMPARE(map->style_now().colour_min, 1e-4);
      QCOMPARE(map->plot()->axisRect(1)->axis(QCPAxis::atBottom)->range(),
               page.maps()->first()->plot()->axisRect(1)->axis(QCPAxis::atBottom)->range());
      QCOMPARE(map->plot()->axisRect(1)->axis(QCPAxis::atLeft)->range(),
               page.maps()->first()->plot()->axisRect(1)->axis(QCPAxis::atLeft)->range());
    }
  }

  void each_mode_for_all_or_the_chosen_one() {
    ComparePage page(selection_.get());
    show_page(page, {1280, 800});
    page.set_sides(one(many_methods(), "dense"), four());
    for (const auto& [mode, layout] : {std::pair{CompareMode::difference, MapLayout::difference},
                                       std::pair{CompareMode::diagonal_split, MapLayout::diagonal_split}}) {
      page.maps()->set_mode(mode);
      page.maps()->set_chosen(0);
      QTRY_VERIFY_WITH_TIMEOUT(page.settled(), 30000);
      QCOMPARE(visible_maps(page), 4);
      for (std::size_t i = 0; i < 4; ++i) {
        const auto* map = page.maps()->pictured()[i];
        QCOMPARE(map->style_now().layout, layout);
        QCOMPARE(map->second_data()->source.method, QString::fromStdString(four()[i].method->id));
      }
      page.maps()->set_chosen(3);
      QTRY_VERIFY_WITH_TIMEOUT(page.settled(), 30000);
      QCOMPARE(visible_maps(page), 1);
      QCOMPARE(page.maps()->first()->second_data()->source.method, QString("indexer-k16-g1"));
      QTest::qWait(5);
      QCOMPARE(selection_->state().display.compare_chosen, 3);
    }
    page.maps()->set_mode(CompareMode::side_by_side);
    QTRY_COMPARE(visible_maps(page), 2);
  }

  void x_goes_through_the_candidates() {
    ComparePage page(selection_.get());
    show_page(page, {1280, 800});
    page.set_sides(one(many_methods(), "dense"), four());
    page.maps()->set_mode(CompareMode::flicker);
    const auto shown = [&] {
      for (const auto* map : page.findChildren<AttentionMapWidget*>())
        if (map->isVisible())
          return page.maps()->pictured()[0] == map ? QString("baseline") : map->data()->source.method;
      return QString();
    };
    QTRY_VERIFY_WITH_TIMEOUT(
        [&] {
          const auto maps = page.maps()->pictured();
          return std::all_of(maps.begin(), maps.end(), [](auto* map) { return map->data() != nullptr; });
        }(),
        30000);
    QCOMPARE(shown(), QString("baseline"));
    for (int round = 0; round < 6; ++round) {
      QTest::keyPress(page.maps(), Qt::Key_X);
      QCOMPARE(shown(), QString::fromStdString(four()[static_cast<std::size_t>(round) % 4].method->id));
      QTest::keyRelease(page.maps(), Qt::Key_X);
      QCOMPARE(shown(), QString("baseline"));
    }
    page.maps()->set_chosen(2);
    QTRY_COMPARE(page.maps()->pictured().size(), std::size_t{2});
    QTest::keyPress(page.maps(), Qt::Key_X);
    QTRY_COMPARE(shown(), QString("oracle-k64-g1"));
    QTest::keyRelease(page.maps(), Qt::Key_X);
  }

  void a_candidate_of_another_text_is_refused_alone() {
    selection_->add_record(another_text());
    ComparePage page(selection_.get());
    show_page(page, {1280, 800});
    page.set_sides(one(many_methods(), "dense"), {one(many_methods(), "oracle-k64-g1"), one(another_text(), "dense")});
    QCOMPARE(visible_maps(page), 3);
    page.maps()->set_mode(CompareMode::difference);
    QCOMPARE(visible_maps(page), 1);
    QVERIFY(page.maps()->refusal().isEmpty());
    QVERIFY2(visible_words(page).contains("differ from position"), qPrintable(visible_words(page)));
    QVERIFY(visible_words(page).contains("another"));
    page.maps()->set_chosen(2);
    QCOMPARE(visible_maps(page), 0);
    QVERIFY(page.maps()->refusal().contains("differ from position"));
  }

  void the_table_has_a_column_each() {
    ComparePage page(selection_.get());
    show_page(page, {1280, 800});
    page.set_sides(one(many_methods(), "dense"), four());
    MetadataModel* model = page.metadata();
    QCOMPARE(model->columnCount(), 6);
    QCOMPARE(model->headerData(5, Qt::Horizontal, Qt::DisplayRole).toString(), QString("Candidate 4"));
    QCOMPARE(model->index(0, 3).data(Qt::DisplayRole).toString(),
             method_label(*many_methods(), *four()[1].method));
    const int all = model->rowCount();
    model->set_differences_only(true);
    QVERIFY(model->rowCount() > 0 && model->rowCount() < all);
    for (int row = 0; row < model->rowCount(); ++row) {
      QSet<QString> values;
      for (int column = 1; column < 6; ++column) values << model->index(row, column).data(Qt::DisplayRole).toString();
      QVERIFY(values.size() > 1);
    }
  }

  void two_of_one_look_are_told_apart() {
    const std::vector<int> looks =
        distinct_looks({one(many_methods(), "oracle-k16-g1"), one(many_methods(), "oracle-k16-g1"),
                        one(many_methods(), "dense")});
    QVERIFY(looks[0] != looks[1] && looks[1] != looks[2] && looks[0] != looks[2]);
    QCOMPARE(looks[0], many_methods()->find_method("oracle-k16-g1")->look);
  }

  void figure_and_numbers_hold_them_all() {
    ComparePage page(selection_.get());
    show_page(page, {1280, 800});
    page.set_sides(one(many_methods(), "dense"), four());
    QTRY_VERIFY_WITH_TIMEOUT(page.settled(), 30000);
    QBuffer svg;
    for (int round = 0; round < 200; ++round) {
      svg.setData({});
      QSvgGenerator generator;
      generator.setOutputDevice(&svg);
      generator.setViewBox(QRect(0, 0, 1200, 1100));
      QPainter painter(&generator);
      page.render(painter, QRectF(0, 0, 1200, 1100), {1, "run"});
      painter.end();
      if (page.ready() && page.complete()) break;
      QTest::qWait(20);
    }
    QVERIFY(page.complete());
    QVERIFY(svg.data().count("<image") >= 5);
    if (const QString folder = qEnvironmentVariable("HEADROOM_PICTURES"); !folder.isEmpty()) {
      QImage image(1200, 1100, QImage::Format_RGB32);
      QPainter painter(&image);
      page.render(painter, QRectF(0, 0, 1200, 1100), {1, "run"});
      image.save(folder + "/compare-many-figure.png");
      page.grab().save(folder + "/compare-many.png");
    }
    for (const CompareSide& side : four())
      QVERIFY2(svg.data().contains(side.method->id.c_str()), side.method->id.c_str());
    const QStringList lines = page.csv().split("\r\n", Qt::SkipEmptyParts);
    QCOMPARE(lines.front(), QString("layer,head,baseline dense,candidate oracle-k16-g1,candidate oracle-k64-g1,"
                                    "candidate indexer-k16-g1,candidate indexer-k64-g1"));
    QCOMPARE(lines.size(), 1 + 3);
    for (std::size_t i = 0; i < 4; ++i)
      QVERIFY(std::abs(lines[1].section(',', 3 + int(i), 3 + int(i)).toDouble() -
                       four()[i].method->captured_mass_per_layer[0]) < 1e-6);
    page.maps()->set_mode(CompareMode::flicker);  // what only flickers in stands in the figure all the same
    QCOMPARE(page.maps()->pictured().size(), std::size_t{5});
  }
};

QTEST_MAIN(TestCompareMany)
#include "test_compare_many.moc"
