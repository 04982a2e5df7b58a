// SPDX-License-Identifier: GPL-3.0-or-later
// The minimap of a record that was never looked at as a whole shows all of it: its tiles are asked for, not only taken
// where some other view has made them. And the figure of the same page, drawn by one that was never on a screen.
#include <QSignalSpy>
#include <cmath>

#include "views/common/page_fixture.h"
#include "views/common/theme.h"
#include "views/map/attention_map_widget.h"
#include "views/map/attention_page.h"
#include "views/map/minimap.h"

using namespace headroom;
using namespace headroom::views;

class TestMinimap : public QObject {
  Q_OBJECT

  static constexpr std::int64_t length = 600;
  static constexpr Viewport part{560, 590, 20, 50};

  struct Opened {
    Selection selection;
    AttentionPage page{&selection};
    explicit Opened(const Viewport& view) {
      selection.open_record(small_record());
      look(view);
      show_page(page, {1280, 720});
      settle();
    }
    void look(const Viewport& view) {
      selection.change([&](ViewState& state) {
        state.layer = 1;
        state.viewport = view;
      });
    }
    void settle() {
      QTRY_VERIFY_WITH_TIMEOUT(page.map()->data() && page.map()->data()->source.layer == 1, 20000);
      for (int i = 0; i < 2; ++i) {
        QTest::qWait(50);
        page.map()->plot()->replot();
        QTRY_VERIFY_WITH_TIMEOUT(page.map()->settled(), 30000);
      }
    }
    Minimap* minimap() { return page.map()->findChild<Minimap*>(); }
  };

  /// Share of the pixels below the diagonal of `picture` that are not of one colour with their neighbour on the right.
  static double texture(const QImage& picture) {
    int changes = 0, pixels = 0;
    for (int y = 8; y < picture.height() - 8; ++y)
      for (int x = 8; x < y * picture.width() / picture.height() - 8; ++x) {
        ++pixels;
        const QColor a = picture.pixelColor(x, y), b = picture.pixelColor(x + 1, y);
        changes += std::abs(a.red() - b.red()) + std::abs(a.green() - b.green()) + std::abs(a.blue() - b.blue()) > 12;
      }
    return static_cast<double>(changes) / std::max(1, pixels);
  }
  /// Largest share of pixels that differ visibly, outside the frame of the view.
  static double apart(const QImage& a, const QImage& b) {
    int differ = 0;
    for (int y = 0; y < a.height(); ++y)
      for (int x = 0; x < a.width(); ++x) {
        const QColor p = a.pixelColor(x, y), q = b.pixelColor(x, y);
        differ += std::abs(p.red() - q.red()) + std::abs(p.green() - q.green()) + std::abs(p.blue() - q.blue()) > 24;
      }
    return static_cast<double>(differ) / (a.width() * a.height());
  }

 private slots:
  void initTestCase() {
    Theme::instance().set_mode(ThemeMode::light);
    QVERIFY(small_record());
  }

  void a_record_opened_at_a_part_has_the_whole_in_its_corner() {
    Opened fresh(part);
    QVERIFY(fresh.minimap() && fresh.minimap()->isVisible());
    QTRY_VERIFY_WITH_TIMEOUT(texture(fresh.minimap()->grab().toImage()) > 0.1, 20000);
    // The same as in a window that has looked at the whole first.
    Opened seen({0, length, 0, length});
    QVERIFY(!seen.minimap()->isVisible());
    seen.look(part);
    seen.settle();
    QVERIFY(seen.minimap()->isVisible());
    const QImage expected = seen.minimap()->grab().toImage();
    QTRY_VERIFY_WITH_TIMEOUT(apart(fresh.minimap()->grab().toImage(), expected) < 0.01, 20000);
    // Part of the page's picture, as `headroom-gui --render` keeps it.
    const QPoint corner = fresh.minimap()->mapTo(&fresh.page, QPoint());
    const QImage page = fresh.page.grab().toImage().copy(QRect(corner, fresh.minimap()->size()));
    QVERIFY(apart(page, expected) < 0.01);
  }

  void where_no_thumbnail_stands_in_it_waits_for_its_tiles() {
    const MapDataPtr loaded = load_map_data({small_record(), "indexer-k64-g1", 1, {}});
    QVERIFY(loaded->problem.isEmpty() && loaded->stream);
    const auto bare = std::make_shared<MapData>(*loaded);
    bare->thumbnail = nullptr;
    QImage pictures[2];
    for (const bool whole_first : {false, true}) {
      Selection selection;
      AttentionMapWidget map(&selection);
      const auto look = [&](const Viewport& view) {
        selection.change([&](ViewState& state) { state.viewport = view; });
        QTRY_VERIFY_WITH_TIMEOUT(map.settled(), 30000);
        map.plot()->replot();
        QTRY_VERIFY_WITH_TIMEOUT(map.settled(), 30000);
      };
      selection.change([](ViewState& state) { state.viewport = part; });
      show_page(map, {900, 700});
      map.set_data(bare);
      if (whole_first) look({0, length, 0, length});
      look(part);
      auto* minimap = map.findChild<Minimap*>();
      QVERIFY(minimap->isVisible());
      QTRY_VERIFY_WITH_TIMEOUT(texture(minimap->grab().toImage()) > 0.1, 5000);
      pictures[whole_first] = minimap->grab().toImage();
    }
    QVERIFY(apart(pictures[0], pictures[1]) < 0.01);
  }

  void a_drag_in_it_moves_the_view() {
    Opened fresh(part);
    auto* minimap = fresh.minimap();
    QTest::mouseClick(minimap, Qt::LeftButton, {}, {32, 96});
    const Viewport& view = fresh.selection.state().viewport;
    QVERIFY(std::abs((view.key_begin + view.key_end) / 2 - length / 4.0) < 6);
    QVERIFY(std::abs((view.query_begin + view.query_end) / 2 - length * 0.75) < 6);
    QCOMPARE(view.key_end - view.key_begin, 30.0);
  }

  void a_figure_by_a_page_that_was_never_shown_holds_the_map() {
    // In a column the map stands alone; its page has never been on a screen, and no tile was made for one.
    for (const QSizeF& size : {QSizeF(333, 380), QSizeF(1200, 750)}) {
      Selection selection;
      selection.open_record(small_record());
      selection.change([](ViewState& state) { state.layer = 1; });
      AttentionPage page(&selection);
      QImage picture(size.toSize(), QImage::Format_ARGB32_Premultiplied);
      const auto draw = [&] {
        picture.fill(Qt::white);
        QPainter painter(&picture);
        page.render(painter, QRectF(QPointF(), size), {});
        return page.ready() && page.complete();
      };
      QTRY_VERIFY_WITH_TIMEOUT(draw(), 30000);
      QVERIFY2(page.problem().isEmpty(), qPrintable(page.problem()));
      QSet<QRgb> colours;
      for (int y = picture.height() / 4; y < picture.height() * 3 / 4; ++y)
        for (int x = picture.width() / 8; x < picture.width() / 2; ++x) colours << picture.pixel(x, y);
      QVERIFY2(colours.size() > 60, qPrintable(QString::number(colours.size())));
    }
  }
};

QTEST_MAIN(TestMinimap)
#include "test_minimap.moc"
