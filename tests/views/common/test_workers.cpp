// SPDX-License-Identifier: GPL-3.0-or-later
// Reading does not stand in the pool in which Qt paints, and labels know their height without laying out their text
// anew.
#include <QLabel>
#include <QSemaphore>
#include <QThreadPool>
#include <QVBoxLayout>

#include "views/common/page_fixture.h"
#include "views/common/workers.h"
#include "views/common/wrap_label.h"
#include "views/docks/inspector_dock.h"
#include "views/map/map_data.h"
#include "views/map/row_mass.h"
#include "views/missed/missed_panel.h"

using namespace headroom;
using namespace headroom::views;

class TestWorkers : public QObject {
  Q_OBJECT

  /// No thread of Qt's own pool is free while this lives.
  struct FullPool {
    FullPool() {
      pool->setMaxThreadCount(1);
      pool->start([this] {
        begun.release();
        end.acquire();
      });
      begun.acquire();
    }
    ~FullPool() {
      end.release();
      pool->waitForDone();
      pool->setMaxThreadCount(before);
    }
    QThreadPool* pool = QThreadPool::globalInstance();
    int before = pool->maxThreadCount();
    QSemaphore begun, end;
  };

 private slots:
  void maps_and_rows_are_read_while_qt_paints() {
    const RecordPtr record = small_record();
    const FullPool full;
    MapLoader loader;
    MapDataPtr data;
    loader.load({record, "indexer-k64-g1", 1, {}}, [&](MapDataPtr loaded) { data = std::move(loaded); });
    QTRY_VERIFY_WITH_TIMEOUT(data, 20000);
    RowMass rows;
    QSignalSpy ready(&rows, &RowMass::ready);
    rows.request(data, 100, 103);
    QTRY_COMPARE_WITH_TIMEOUT(ready.count(), 1, 20000);
  }

  void lists_of_missed_keys_are_too() {
    Selection selection;
    selection.open_record(small_record());
    selection.change([](ViewState& state) {
      state.method = "indexer-k64-g1", state.layer = 1, state.display.missed_scope = MissedScope::layer;
    });
    const FullPool full;
    MissedPanel panel(&selection);
    panel.setUpdatesEnabled(false);  // painting is what would wait
    panel.show();
    QTRY_VERIFY_WITH_TIMEOUT(panel.settled() && !panel.headline().isEmpty(), 20000);
  }

  void the_height_of_a_label_follows_its_text_and_font() {
    TextLabel label;
    QLabel plain;
    for (QLabel* one : {static_cast<QLabel*>(&label), &plain}) one->setWordWrap(true);
    const auto same = [&](int width) { return label.heightForWidth(width) == plain.heightForWidth(width); };
    const auto say = [&](const QString& text) {
      label.setText(text);
      plain.setText(text);
    };
    say("<b>Some</b> words that need several lines where there is little room for them");
    QVERIFY(same(60) && same(400) && same(60));
    QVERIFY(label.heightForWidth(60) > label.heightForWidth(400));
    say("Few");
    QVERIFY(same(60) && same(400));
    QFont large = label.font();
    large.setPointSizeF(large.pointSizeF() * 2);
    label.setFont(large);
    plain.setFont(large);
    QVERIFY(same(60));
    label.setContentsMargins(0, 9, 0, 9);
    plain.setContentsMargins(0, 9, 0, 9);
    QVERIFY(same(60));
    for (int width = 30; width < 200; width += 5) QVERIFY(same(width));
  }
};

QTEST_MAIN(TestWorkers)
#include "test_workers.moc"
