// SPDX-License-Identifier: GPL-3.0-or-later
// What ties map and text together: tokens on the axes, ticks beside what was found, ranks as colours, the line that
// says how rows and keys are chosen, and the offer to record a layer exactly.
#include <QBuffer>
#include <QComboBox>
#include <QLabel>
#include <QLineEdit>
#include <QPainter>
#include <QPushButton>
#include <QSvgGenerator>
#include <cmath>

#include "views/common/page_fixture.h"
#include "views/common/theme.h"
#include "views/map/attention_controls.h"
#include "views/map/attention_map_widget.h"
#include "views/map/attention_page.h"
#include "views/map/map_axis.h"
#include "views/map/map_readout.h"
#include "views/prompt/prompt_panel.h"

using namespace headroom;
using namespace headroom::views;

namespace {

RecordPtr links_record() {
  static const RecordPtr record = [] {
    test::SyntheticOptions options;
    options.tokens = 600;
    options.layers = 3;
    options.keep_layers = {1};
    return make_record("links.h5", options);
  }();
  return record;
}

struct Bench {
  Selection selection;
  AttentionPage page{&selection};
  explicit Bench(QSize size = {1100, 760}) {
    selection.open_record(links_record());
    page.resize(size);
    page.move(40, 40);
    page.show();
    change([](ViewState& s) { s.method = "indexer-k64-g1", s.layer = 1; });
  }
  template <typename Edit>
  void change(Edit&& edit) {
    selection.change(edit);
    QTest::qWait(5);
    QTRY_VERIFY_WITH_TIMEOUT(page.map()->data() && page.map()->data()->source.layer == selection.state().layer &&
                                 page.map()->data()->source.method == selection.state().method && page.settled(),
                             20000);
    QTest::qWait(20);
    QTRY_VERIFY_WITH_TIMEOUT(page.settled(), 20000);
  }
  QCPAxis* keys() const { return page.map()->plot()->axisRect(1)->axis(QCPAxis::atBottom); }
  QCPAxis* queries() const { return page.map()->plot()->axisRect(1)->axis(QCPAxis::atLeft); }
  /// Pixels that are nearly of this colour in a part of the plot.
  int count(const QRect& part, const QColor& colour) const {
    const QImage picture = page.map()->plot()->grab().toImage();
    int found = 0;
    for (int y = std::max(0, part.top()); y <= std::min(part.bottom(), picture.height() - 1); ++y)
      for (int x = std::max(0, part.left()); x <= std::min(part.right(), picture.width() - 1); ++x) {
        const QColor pixel = picture.pixelColor(x, y);
        found += std::abs(pixel.red() - colour.red()) + std::abs(pixel.green() - colour.green()) +
                     std::abs(pixel.blue() - colour.blue()) <
                 24;
      }
    return found;
  }
};

}  // namespace

class TestMapLinks : public QObject {
  Q_OBJECT
 private slots:
  void initTestCase() { Theme::instance().set_mode(ThemeMode::light); }

  void axes_name_tokens_where_each_has_room() {
    Bench b;
    QVERIFY(!shows_tokens(b.keys()) && !shows_tokens(b.queries()));
    b.change([](ViewState& s) { s.viewport = {200, 220, 190, 210}; });
    QVERIFY(shows_tokens(b.keys()) && shows_tokens(b.queries()));
    const QVector<QString> labels = b.queries()->tickVectorLabels();
    QVERIFY(labels.size() >= 19);
    for (int i = 0; i < labels.size(); ++i) {
      const auto token = static_cast<std::int64_t>(std::floor(b.queries()->tickVector()[i]));
      QVERIFY2(labels[i].startsWith(grouped(token) + " "), qPrintable(labels[i]));
      QVERIFY(labels[i].size() > grouped(token).size() + 1);
    }
    // One line of text each, and no wider than the margin.
    const QFontMetricsF metrics(b.queries()->tickLabelFont());
    const double cell = b.queries()->axisRect()->height() / 20.0;
    QVERIFY2(cell >= metrics.height(), qPrintable(QString::number(cell)));
    for (const QString& label : labels)
      QVERIFY2(metrics.horizontalAdvance(label) <= b.queries()->axisRect()->left(), qPrintable(label));
    // Panning does not move the map under the mouse.
    const QRect before = b.keys()->axisRect()->rect();
    for (const double at : {0.0, 57.0, 333.0, 580.0}) {
      b.change([at](ViewState& s) { s.viewport = {at, at + 20, std::max(0.0, at - 20), std::max(20.0, at)}; });
      QCOMPARE(b.keys()->axisRect()->rect(), before);
    }
    b.change([](ViewState& s) { s.viewport = {0, 600, 0, 600}; });
    QVERIFY(!shows_tokens(b.keys()));
    QVERIFY(b.keys()->tickVectorLabels().contains("200"));
  }

  void figures_name_tokens_where_each_has_room() {
    Bench b;
    // What a figure writes, as an SVG keeps it.
    const auto words = [&](const Viewport& view, QSize size, double least_text) {
      b.change([&](ViewState& s) { s.viewport = view; });
      QByteArray svg;
      QBuffer bytes(&svg);
      bytes.open(QIODevice::WriteOnly);
      QSvgGenerator generator;
      generator.setOutputDevice(&bytes);
      generator.setSize(size);
      QPainter painter(&generator);
      ExportOptions options;
      options.least_text = least_text;
      b.page.map()->render(painter, QRectF(QPointF(0, 0), size), options);
      painter.end();
      return QString::fromUtf8(svg);
    };
    const QString close = words({200, 220, 190, 210}, {1200, 900}, 0);
    int named = 0;
    for (int token = 191; token < 220; ++token) named += close.contains(">" + QString::number(token) + " ");
    QVERIFY2(named >= 27, qPrintable(QString::number(named)));
    QVERIFY(close.contains("query position and token") && close.contains("key position and token"));
    const QString whole = words({0, 600, 0, 600}, {1200, 900}, 0);
    QVERIFY(whole.contains(">200<") && !whole.contains("position and token"));
    // Labels would lie over each other in a column.
    QVERIFY(!words({200, 240, 190, 230}, {330, 300}, 9).contains("position and token"));
  }

  void find_marks_rows_and_columns() {
    Bench b;
    const QRect area = b.keys()->axisRect()->rect();
    const QRect above(area.left(), area.top() - 6, area.width(), 5),
        beside(area.right() + 2, area.top(), 4, area.height());
    const QColor colour = Theme::instance().warning(), current = Theme::instance().accent();
    QCOMPARE(b.count(above, colour), 0);
    b.page.prompt()->find_field()->setText("the");
    QTest::qWait(20);
    QTRY_VERIFY(b.count(above, colour) > 5);
    QVERIFY(b.count(beside, colour) > 5);
    QVERIFY(b.count(above, current) > 3);  // the one that the text shows
    b.page.prompt()->find_field()->setText("no such words at all");
    QTest::qWait(20);
    QTRY_COMPARE(b.count(above, colour) + b.count(beside, colour), 0);
  }

  void ranks_are_a_third_scale() {
    Bench b;
    b.change([](ViewState& s) { s.display.mode = MapMode::rank, s.viewport = {400, 440, 100, 140}; });
    QVERIFY(b.page.map()->shows_ranks());
    const MapData& data = *b.page.map()->data();
    for (const MapPoint point : {MapPoint{410, 105}, MapPoint{433, 139}}) {
      const CellValue value = b.page.map()->value_at(point);
      QVERIFY(value.found && value.cell == 1);
      QCOMPARE(std::int64_t{std::lround(1 / value.max)},
               record::rank_in_row(*data.stream, data.source.head, point.query, point.key));
    }
    QVERIFY2(b.page.map()->badge().contains("rank of p among the keys"), qPrintable(b.page.map()->badge()));
    QCOMPARE(b.page.scale_text(), QString("rank of p in its row, 1 to 1,000"));
    b.selection.set_hover({410, 105});
    QTRY_VERIFY2(b.page.readout()->value("cell").endsWith(" of 411 keys"), qPrintable(b.page.readout()->value("cell")));
    b.selection.set_hover({});
    b.change([](ViewState& s) { s.viewport = {0, 600, 0, 600}; });
    QVERIFY2(b.page.map()->badge().startsWith("best rank of"), qPrintable(b.page.map()->badge()));
    // A layer without q and k has no ranks, and says so.
    b.change([](ViewState& s) { s.layer = 0; });
    QVERIFY(!b.page.map()->shows_ranks());
    QVERIFY2(b.page.map()->badge().contains("ranks need this layer's q and k"), qPrintable(b.page.map()->badge()));
    QVERIFY(b.page.scale_text().startsWith("p, "));
    b.selection.undo();
    b.selection.undo();
    b.selection.undo();
    QTest::qWait(20);
    QTRY_VERIFY(b.page.settled() && b.page.map()->style_now().mode == MapMode::probability);
    QVERIFY(!b.page.map()->shows_ranks());
  }

  void how_to_choose_is_written_below() {
    Bench b;
    auto* hint = b.page.findChild<QLabel*>("map_hint");
    QVERIFY(hint->isVisible());
    for (const char* word : {"Shift+drag", "Ctrl+click", "wheel"}) QVERIFY(hint->text().contains(word));
    auto* legend = b.page.findChild<QLabel*>("layer_legend");
    QCOMPARE(legend->text(), QString("● exact  ◐ blocks"));
    QVERIFY(legend->toolTip().contains("every pair is exact"));
  }

  void a_coarse_layer_offers_to_be_recorded() {
    Bench b;
    auto* bar = b.page.findChild<QWidget*>("exact_bar");
    auto* button = b.page.findChild<QPushButton*>("record_exactly");
    QVERIFY(!bar->isVisible());
    b.change([](ViewState& s) { s.layer = 2; });
    QVERIFY(bar->isVisible() && !button->isVisible());  // nobody could do it
    using Offer = AttentionPage::ExactOffer;
    Offer offer = Offer::possible;
    b.page.set_exact_offer([&](const RecordPtr&, int layer) { return layer == 2 ? offer : Offer::none; });
    QVERIFY(button->isVisible() && button->isEnabled());
    QSignalSpy asked(&b.page, &AttentionPage::exact_layer_asked);
    button->click();
    QCOMPARE(asked.value(0).value(0).toInt(), 2);
    offer = Offer::recording;
    b.page.refresh_exact_offer();
    QVERIFY(!button->isEnabled());
    QVERIFY2(button->text().startsWith("Recording layer 2"), qPrintable(button->text()));
    b.change([](ViewState& s) { s.layer = 1; });
    QVERIFY(!bar->isVisible());
  }
};

QTEST_MAIN(TestMapLinks)
#include "test_map_links.moc"
