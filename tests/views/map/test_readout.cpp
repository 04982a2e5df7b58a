// SPDX-License-Identifier: GPL-3.0-or-later
// The read-out describes the pair under the mouse, whatever moves the map under it; keys describe what they chose; no
// field is ever left out.
#include <QLabel>

#include "views/common/page_fixture.h"
#include "views/map/attention_map_widget.h"
#include "views/map/attention_page.h"
#include "views/map/map_readout.h"
#include "views/prompt/prompt_panel.h"
#include "views/prompt/prompt_text.h"

using namespace headroom;
using namespace headroom::views;

namespace {

RecordPtr readout_record() {
  static const RecordPtr record = [] {
    test::SyntheticOptions options;
    options.tokens = 400;
    options.layers = 3;
    return make_record("readout.h5", options);
  }();
  return record;
}

struct Bench {
  Selection selection;
  AttentionPage page{&selection};
  explicit Bench(QSize size = {1000, 640}) {
    selection.open_record(readout_record());
    selection.change([](ViewState& s) {
      s.method = "indexer-k64-g1", s.layer = 1, s.viewport = {200, 400, 0, 200};
      s.query_begin = 300, s.query_end = 301, s.keys = {};
    });
    page.resize(size);
    page.move(40, 40);
    page.show();
    settle();
  }
  void settle() {
    QTRY_VERIFY_WITH_TIMEOUT(page.map()->data() && page.settled(), 20000);
    QTest::qWait(20);
    QTRY_VERIFY_WITH_TIMEOUT(page.settled(), 20000);
  }
  QPoint place(double query, double key) const {
    const QRect area = page.map()->plot()->axisRect(1)->rect();
    const Viewport& view = selection.state().viewport;
    return QPointF(area.left() + (key + 0.5 - view.key_begin) / (view.key_end - view.key_begin) * area.width(),
                   area.top() + (query + 0.5 - view.query_begin) / (view.query_end - view.query_begin) * area.height())
        .toPoint();
  }
  void point_at(QPoint at) {
    // Once beside it: a mouse that stays moves nothing.
    QTest::mouseMove(page.map()->plot(), at + QPoint(3, 0));
    QTest::mouseMove(page.map()->plot(), at);
    QCoreApplication::processEvents();
  }
  std::int64_t number(const char* field) const {
    const QString text = page.readout()->value(QLatin1String(field)).section(' ', 0, 0);
    return text == QStringLiteral("–") ? -1 : QString(text).remove(',').toLongLong();
  }
  /// The read-out names the pair that lies under this place now.
  void verify_under(QPoint at) const {
    const MapPoint pair = page.map()->pair_at(at);
    QCOMPARE(number("query"), pair.query);
    QCOMPARE(number("key"), pair.key);
    QCOMPARE(selection.hover(), pair);
  }
};

}  // namespace

class TestReadout : public QObject {
  Q_OBJECT
 private slots:
  void the_pair_under_the_mouse_is_described_after_every_change_of_view() {
    Bench b;
    const QPoint at = b.place(350, 100);
    b.point_at(at);
    b.verify_under(at);
    const MapPoint first = b.selection.hover();
    QWheelEvent wheel(at, b.page.map()->plot()->mapToGlobal(at), {}, QPoint(0, 240), Qt::NoButton, Qt::NoModifier,
                      Qt::NoScrollPhase, false);
    QApplication::sendEvent(b.page.map()->plot(), &wheel);
    b.settle();
    b.verify_under(at);
    for (const auto key : {Qt::Key_D, Qt::Key_W, Qt::Key_F}) {
      QTest::keyClick(b.page.map(), key);
      b.settle();
      b.verify_under(at);
    }
    QVERIFY(b.selection.hover() != first);
    b.selection.undo();
    b.settle();
    b.verify_under(at);
    // Dragging: at the edge of the map the view stays behind the mouse.
    QTest::mousePress(b.page.map()->plot(), Qt::LeftButton, {}, at);
    QTest::mouseMove(b.page.map()->plot(), at - QPoint(80, 80));
    b.settle();
    b.verify_under(at - QPoint(80, 80));
    QTest::mouseRelease(b.page.map()->plot(), Qt::LeftButton, {}, at - QPoint(80, 80));
  }

  void stepping_wins_until_the_mouse_moves() {
    Bench b;
    b.selection.change([](ViewState& s) { s.keys = {90}; });
    const QPoint at = b.place(380, 20);
    b.point_at(at);
    QCOMPARE(b.number("key"), b.page.map()->pair_at(at).key);
    QTest::keyClick(b.page.map(), Qt::Key_Right);
    b.settle();
    const std::int64_t key = *b.selection.state().keys.begin();
    QVERIFY(key > 90);
    QCOMPARE(b.number("query"), std::int64_t{300});
    QCOMPARE(b.number("key"), key);
    QCOMPARE(b.selection.hover(), MapPoint{});  // and no cross-hair elsewhere
    QTest::keyClick(b.page.map(), Qt::Key_Plus);
    b.settle();
    QCOMPARE(b.number("key"), key);
    b.point_at(at + QPoint(1, 1));
    b.verify_under(at + QPoint(1, 1));
  }

  void without_a_chosen_key_none_is_described() {
    Bench b;
    QCOMPARE(b.number("query"), std::int64_t{300});
    for (const char* field : {"key", "p", "rank", "support", "cell"})
      QCOMPARE(b.page.readout()->value(QLatin1String(field)), QStringLiteral("–"));
    b.selection.change([](ViewState& s) { s.query_begin = 310, s.query_end = 330; });
    b.settle();
    QCOMPARE(b.page.readout()->value(QStringLiteral("query")), QStringLiteral("310–329"));
    b.selection.change([](ViewState& s) { s.query_begin = 300, s.query_end = 301, s.keys = {3, 5}; });
    b.settle();
    QCOMPARE(b.page.readout()->value(QStringLiteral("key")), QStringLiteral("2 keys"));
    QCOMPARE(b.page.readout()->value(QStringLiteral("p")), QStringLiteral("–"));
  }

  void a_click_into_the_text_leaves_no_cross_hair() {
    Bench b;
    emit b.page.prompt()->text()->token_hovered(40);
    QCOMPARE(b.selection.hover(), (MapPoint{300, 40}));
    emit b.page.prompt()->text()->token_clicked(40, Qt::NoModifier);
    b.settle();
    QCOMPARE(b.selection.state().query_begin, std::int64_t{40});
    QCOMPARE(b.selection.hover(), MapPoint{});
    QCOMPARE(b.number("query"), std::int64_t{40});
    QCOMPARE(b.number("key"), std::int64_t{-1});
  }

  void a_hidden_page_and_another_run_leave_no_cross_hair() {
    Bench b;
    b.point_at(b.place(350, 100));
    QVERIFY(b.selection.hover().query >= 0);
    b.page.hide();
    QCOMPARE(b.selection.hover(), MapPoint{});
    b.page.show();
    b.settle();
    b.point_at(b.place(350, 100));
    b.selection.open_record(small_record());
    QCOMPARE(b.selection.hover(), MapPoint{});
  }

  void no_field_is_left_out_data() {
    QTest::addColumn<int>("width");
    for (const int width : {560, 680, 860, 1280, 1600}) QTest::newRow(qPrintable(QString::number(width))) << width;
  }
  void no_field_is_left_out() {
    QFETCH(int, width);  // of the page: 680 is what the docks leave of a window of 1280
    Bench b({width, 600});
    b.selection.change([](ViewState& s) { s.keys = {90}; });
    b.settle();
    const QRect room = b.page.readout()->rect();
    QRegion taken;
    for (const char* field : {"query", "key", "support", "p", "rank", "cell"}) {
      const QWidget* box = b.page.readout()->box(QLatin1String(field));
      QVERIFY2(box->isVisible(), field);
      QVERIFY2(room.contains(box->geometry()), field);
      QVERIFY2(!taken.intersects(box->geometry()), field);
      taken += box->geometry();
      for (const auto* label : box->findChildren<QLabel*>())
        QVERIFY2(label->fontMetrics().horizontalAdvance(label->text()) <= box->width(),
                 qPrintable(label->text() + " is cut"));
    }
    QVERIFY(b.page.map()->badge().startsWith(QStringLiteral("one pair per cell")) ||
            b.page.map()->badge().startsWith(QStringLiteral("max of ")));
  }

  void the_rank_says_whose_probabilities_it_ranks() {
    Bench b;
    b.selection.change([](ViewState& s) { s.keys = {90}; });
    b.settle();
    const auto caption = [&] {
      return b.page.readout()->box(QStringLiteral("rank"))->findChildren<QLabel*>()[0]->text();
    };
    QCOMPARE(caption(), QStringLiteral("rank in row, mean"));
    b.selection.change([](ViewState& s) { s.head = {record::HeadSelector::Kind::head, 2}; });
    b.settle();
    QCOMPARE(caption(), QStringLiteral("rank in row, head 2"));
  }

  void while_another_layer_loads_the_old_map_says_so() {
    Bench b;
    QVERIFY(b.page.map()->stale_note().isEmpty());
    QString note, badge;
    connect(&b.selection, &Selection::changed, this, [&] {  // after the page has heard of it
      note = b.page.map()->stale_note();
      badge = b.page.map()->badge();
    });
    b.selection.change([](ViewState& s) { s.layer = 2; });
    QTRY_VERIFY(!note.isEmpty());
    QVERIFY2(note.contains("still shown: layer 1") && note.contains("Reading layer 2"), qPrintable(note));
    QCOMPARE(badge, note);
    b.settle();
    QTRY_VERIFY(b.page.map()->data()->source.layer == 2);
    QVERIFY(b.page.map()->stale_note().isEmpty());
  }
};

QTEST_MAIN(TestReadout)
#include "test_readout.moc"
