// SPDX-License-Identifier: GPL-3.0-or-later
// Nothing that a person does to the map reads a record on the window's thread: a store that notes the thread of each
// read, and can hold every read back, stands in for the file of a long prompt.
#include <QTemporaryDir>
#include <QtTest>
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "gui/exporter.h"
#include "record/stream_window.h"
#include "support/synthetic_record.h"
#include "views/common/theme.h"
#include "views/common/workers.h"
#include "views/map/attention_map_widget.h"
#include "views/map/map_readout.h"

using namespace headroom;
using namespace headroom::views;

/// q, k, log-sum-exp and supports as if they lay in a file.
class Store {
 public:
  MapDataPtr data(std::int64_t tokens) {
    test::SyntheticOptions options;
    options.tokens = tokens;
    options.layers = 1;
    values_ = test::synthetic_stream(options, "indexer-k64-g1", 0);
    auto map = std::make_shared<MapData>();
    map->length = tokens;
    auto stream = std::make_shared<record::LayerStream>(values_);
    stream->q.clear();
    stream->k.clear();
    stream->lse.clear();
    using Part = record::StreamWindow::Part;
    const record::StreamWindow::Shape q{values_.num_q_heads, tokens, values_.head_dim, 64, false},
        k{values_.num_kv_heads, tokens, values_.head_dim, 64, false}, lse{values_.num_q_heads, tokens, 1, 64, false};
    stream->window = std::make_shared<record::StreamWindow>(
        q, k, lse,
        [this, tokens](Part part, std::int64_t head, std::int64_t begin, std::int64_t rows, void* out) {
          note();
          const auto& from = part == Part::q ? values_.q : part == Part::k ? values_.k : values_.lse;
          const std::int64_t width = part == Part::lse ? 1 : values_.head_dim;
          std::memcpy(out, from.data() + (head * tokens + begin) * width,
                      static_cast<std::size_t>(rows * width) * sizeof(float));
        },
        "double");
    map->stream = stream;
    // Rows select the last 16 keys; the true choice is the first 16, so that every early key of a late row is missed.
    map->support = keys(tokens, [](std::int64_t query) { return std::max<std::int64_t>(0, query - 15); });
    map->target = keys(tokens, [](std::int64_t) { return std::int64_t{0}; });
    return map;
  }
  /// Reads wait until let_go().
  void hold() { held_ = true; }
  void let_go() {
    {
      const std::lock_guard lock(mutex_);
      held_ = false;
    }
    free_.notify_all();
  }
  /// q, k and log-sum-exp leave the memory that all records share, as they do where records are larger than that.
  static void forget() {
    constexpr std::int64_t rows = 256, width = 16384;  // 16 MiB a block
    constexpr std::int64_t blocks = record::StreamWindow::most_bytes / (rows * width * 4) + 2;
    const record::StreamWindow::Shape shape{1, rows * blocks, width, rows, false};
    const record::StreamWindow others(
        shape, shape, shape,
        [](auto, std::int64_t, std::int64_t, std::int64_t count, void* out) {
          std::memset(out, 0, static_cast<std::size_t>(count * width) * sizeof(float));
        },
        "others");
    std::vector<float> row(width);
    for (std::int64_t block = 0; block < blocks; ++block)
      others.copy(record::StreamWindow::Part::q, 0, block * rows, 1, row.data());
  }
  int reads() const { return reads_; }
  int reads_of_the_window() const { return of_window_; }

 private:
  std::shared_ptr<const record::Support> keys(std::int64_t tokens, std::int64_t (*first)(std::int64_t)) {
    std::vector<std::int64_t> offsets{0};
    for (std::int64_t query = 0; query < tokens; ++query)
      offsets.push_back(offsets.back() + std::min<std::int64_t>(16, query + 1));
    return std::make_shared<record::Support>(
        offsets,
        [this, offsets, first](std::int64_t begin, std::span<std::int32_t> out) {
          note();
          auto row = std::upper_bound(offsets.begin(), offsets.end(), begin) - offsets.begin() - 1;
          for (std::size_t i = 0; i < out.size(); ++i) {
            const std::int64_t at = begin + static_cast<std::int64_t>(i);
            while (at >= offsets[static_cast<std::size_t>(row + 1)]) ++row;
            out[i] = static_cast<std::int32_t>(first(row) + at - offsets[static_cast<std::size_t>(row)]);
          }
        },
        "double");
  }
  void note() {
    ++reads_;
    if (std::this_thread::get_id() == window_) {
      ++of_window_;
      return;  // held back, it would stand for ever
    }
    std::unique_lock lock(mutex_);
    free_.wait(lock, [this] { return !held_; });
  }

  record::LayerStream values_;
  const std::thread::id window_ = std::this_thread::get_id();
  std::atomic<int> reads_ = 0, of_window_ = 0;
  std::atomic<bool> held_ = false;
  std::mutex mutex_;
  std::condition_variable free_;
};

static constexpr std::int64_t length = 1500;

class TestMapReads : public QObject {
  Q_OBJECT

  struct Shown {
    Store store;
    Selection selection;
    AttentionMapWidget map{&selection};
    MapReadout readout{&map, &selection};
    MapDataPtr data = store.data(length);
    explicit Shown(const Viewport& view) {
      selection.change([&](ViewState& state) {
        state.viewport = view;
        state.display.missed_from = 0;
      });
      map.resize(700, 600);
      map.move(40, 40);
      map.show();
      map.set_data(data);
      settle();
    }
    ~Shown() { store.let_go(); }
    void settle() {
      for (int i = 0; i < 2; ++i) {
        QTest::qWait(20);
        map.plot()->replot();
        QTRY_VERIFY_WITH_TIMEOUT(map.settled(), 60000);
      }
    }
    void press(Qt::Key key) { QTest::keyClick(&map, key); }
    QPoint place(double query, double key) {
      const QRect area = map.plot()->axisRect(1)->rect();
      const Viewport& view = selection.state().viewport;
      return {int(area.left() + (key + 0.5 - view.key_begin) / (view.key_end - view.key_begin) * area.width()),
              int(area.top() + (query + 0.5 - view.query_begin) / (view.query_end - view.query_begin) * area.height())};
    }
  };

 private slots:
  void initTestCase() { Theme::instance().set_mode(ThemeMode::light); }

  void the_double_notices_a_read() {
    Store store;
    const MapDataPtr data = store.data(200);
    QVERIFY(!data->is_here(150, 3));
    QVERIFY(data->missed(150, 3));
    QVERIFY(store.reads_of_the_window() > 0);
  }

  void colours_are_fitted_by_a_worker() {
    Shown shown({0, length, 0, length});
    const int before = shown.store.reads();
    QVERIFY(before > 0);  // the picture came from it
    Store::forget();
    QVERIFY(!record::is_here(*shown.data->stream, {}, 1200, 3));
    shown.store.hold();
    const double low = shown.selection.state().colour_min;
    shown.map.fit_colours();
    QTRY_VERIFY(shown.selection.state().colour_min != low);  // of what is drawn: nothing is read for it at all
    QCOMPARE(shown.store.reads(), before);
    QCOMPARE(shown.store.reads_of_the_window(), 0);
  }

  void the_next_missed_key_is_looked_for_by_a_worker() {
    Shown shown({1100, 1130, 0, 30});
    shown.selection.change([](ViewState& state) {
      state.query_begin = 700;  // not in sight: its rows have not been read
      state.query_end = 701;
      state.keys = {};
    });
    shown.settle();
    QVERIFY(!shown.data->is_here(800, 3));
    shown.selection.change([](ViewState& state) { state.query_begin = 800, state.query_end = 801; });
    shown.store.hold();
    shown.press(Qt::Key_M);
    QTest::qWait(60);
    QVERIFY(shown.selection.state().keys.empty());  // it waits for the file, the window does not
    const int turns = [] {
      int count = 0;
      QElapsedTimer clock;
      clock.start();
      while (clock.elapsed() < 100) QCoreApplication::processEvents(), ++count;
      return count;
    }();
    QVERIFY(turns > 1);
    shown.store.let_go();
    QTRY_COMPARE(shown.selection.state().keys, std::set<std::int64_t>{0});
    QCOMPARE(shown.selection.state().query_begin, std::int64_t{800});
    QCOMPARE(shown.store.reads_of_the_window(), 0);
  }

  void what_is_pointed_at_and_chosen_is_read_by_a_worker() {
    Shown shown({1100, 1130, 0, 30});
    Store::forget();
    QTest::mouseMove(shown.map.plot(), shown.place(1110, 5));
    QTRY_COMPARE(shown.readout.value("support"), QString("missed"));
    QTest::mouseClick(shown.map.plot(), Qt::LeftButton, {}, shown.place(1120, 7));
    QTRY_COMPARE(shown.selection.state().query_begin, std::int64_t{1120});
    for (const Qt::Key key : {Qt::Key_Down, Qt::Key_Right, Qt::Key_Period, Qt::Key_Comma, Qt::Key_P, Qt::Key_F}) {
      shown.press(key);
      QTest::qWait(20);
    }
    shown.settle();
    QTRY_VERIFY(shown.readout.value("rank") != "…");
    QCOMPARE(shown.store.reads_of_the_window(), 0);
  }

  void numbers_are_written_by_a_worker() {
    for (const Viewport& view : {Viewport{1400, 1410, 0, 1500}, Viewport{0, length, 0, length}}) {
      Shown shown({1100, 1130, 0, 30});
      shown.selection.change([&](ViewState& state) { state.viewport = view; });
      QTest::qWait(5);
      const auto work = shown.map.csv_work();  // what the exporter gives to a worker
      QVERIFY(work);
      QCOMPARE(shown.store.reads_of_the_window(), 0);
      QTemporaryDir folder;
      gui::FigureOptions options;
      options.format = gui::FigureFormat::csv;
      const QString file = folder.filePath("map.csv");
      QCOMPARE(gui::write_figure(shown.map, shown.selection, file, options), QString());
      QFile written(file);
      QVERIFY(written.open(QIODevice::ReadOnly));
      QVERIFY(written.readAll().count('\n') > 1000);
      QCOMPARE(shown.store.reads_of_the_window(), 0);
    }
  }
};

QTEST_MAIN(TestMapReads)
#include "test_map_reads.moc"
