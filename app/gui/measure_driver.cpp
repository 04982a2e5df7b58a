// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/measure_driver.h"

#include <QApplication>
#include <QFile>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QTemporaryDir>
#include <QThread>
#include <QWheelEvent>
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <functional>
#include <optional>
#include <vector>

#include "base/error.h"
#include "gui/exporter.h"
#include "gui/file_names.h"
#include "gui/loop_watch.h"
#include "gui/main_window.h"
#include "views/common/banner_bar.h"
#include "views/docks/inspector_dock.h"
#include "views/map/attention_map_widget.h"
#include "views/map/attention_page.h"

namespace headroom::gui {
namespace {

constexpr int frame_patience_ms = 5000, settle_patience_ms = 120000;
constexpr double stall_target_ms = 50;

/// What was hoped for: 95th percentile and largest, ms.
struct Target {
  std::optional<double> p95, most;
};

/// Processor time of this thread, ms: what other programs' load does not lengthen.
double own_ms_now() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

double ms_since(const QElapsedTimer& clock) {
  return static_cast<double>(clock.nsecsElapsed()) / 1e6;
}

/// Of this process, from /proc/self/status: "VmHWM", "VmRSS". MB.
double memory_mb(const QByteArray& name) {
  QFile file(QStringLiteral("/proc/self/status"));
  if (!file.open(QIODevice::ReadOnly)) return 0;
  for (const QByteArray& line : file.readAll().split('\n'))
    if (line.startsWith(name + ':')) return line.mid(name.size() + 1).simplified().split(' ').value(0).toDouble() / 1e3;
  return 0;
}

class Driver : public QObject {
 public:
  Driver(const CommandLine& line)
      : settings_(folder_.filePath(QStringLiteral("settings.ini"))), record_(line.records.first()) {
    QElapsedTimer clock;
    clock.start();
    StartOptions options;
    options.use_engine = false;
    options.quiet = true;
    options.size = line.size;
    window_ = std::make_unique<MainWindow>(settings_, options);
    qApp->installEventFilter(this);
    QObject::connect(&window_->selection(), &views::Selection::changed, this, [this] { changed_ = true; });
    QObject::connect(&window_->selection(), &views::Selection::hover_changed, this, [this] { changed_ = true; });
    window_->show();
    while (!painted_ && clock.elapsed() < frame_patience_ms) QApplication::processEvents(QEventLoop::AllEvents, 5);
    first_paint_ms_ = ms_since(clock);
  }

  int run() {
    std::printf("%-28s %4s %9s %9s %9s %9s %9s %9s   %s\n", "", "n", "median", "p95", "largest", "stall", "own",
                "work p95", "hoped for");
    print("first paint", {first_paint_ms_}, 0, 0, {{}, 300.0}, false);
    open();
    page_ = static_cast<views::AttentionPage*>(window_->pages()[page_index(window_->pages(), "attention")].widget);
    map_ = page_->map();
    walk();
    std::printf("%-28s %.0f MB at most, %.0f MB now   hoped for: 600 MB\n", "memory of the window", memory_mb("VmHWM"),
                memory_mb("VmRSS"));
    std::printf("longest stall of the event loop: %.1f ms (%.1f ms of it this thread's own work), hoped for: %.0f ms\n",
                worst_stall_, worst_own_, stall_target_ms);
    return 0;
  }

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override {
    // A frame is through when the window has been asked to bring what was painted to the screen.
    if (event->type() == QEvent::UpdateRequest && watched == window_.get() && (changed_ || !wants_change_))
      painted_ = true;
    return false;
  }

 private:
  void open() {
    window_->show_page(page_index(window_->pages(), "attention"));
    settle();
    watch_.reset();
    QElapsedTimer clock;
    clock.start();
    window_->open_record(record_);
    auto* page = static_cast<views::AttentionPage*>(window_->pages()[page_index(window_->pages(), "attention")].widget);
    while (ms_since(clock) < settle_patience_ms && !page->map()->is_drawn() && window_->banners().count() == 0)
      QApplication::processEvents(QEventLoop::AllEvents, 5);
    if (!window_->selection().record()) throw input_error(bytes_of_name(record_), "could not be opened");
    const double first_map = ms_since(clock);
    settle();
    print("open, to the first map", {first_map}, watch_.worst_ms(), watch_.worst_own_ms(), {{}, 500.0});
  }

  void walk() {
    views::Selection& selection = window_->selection();
    const auto record = selection.record();
    const double length = static_cast<double>(record->length());
    const views::ViewState first = selection.state();
    const auto look = [&](double from, double span) {
      selection.change([&](views::ViewState& state) {
        state.viewport = {from, from + span, from / 2, from / 2 + span};
      });
      settle();
    };
    look(length / 3, length / 4);
    series("pan", 60, {8.0, 16.0}, [&](int i) { key(map_, i % 20 < 10 ? Qt::Key_D : Qt::Key_A); });
    look(0, length);
    series("zoom", 60, {8.0, 16.0}, [&](int i) { wheel(i < 30 ? 120 : -120); });
    tiles(length, look);
    look(0, length);
    series("recolour", 30, {{}, 16.0},
           [&](int i) { selection.change([&](views::ViewState& state) { state.colour_min = 1e-7 * (1 + i); }); });
    series("hover", 60, {{}, 33.0}, [&](int i) { hover(i); });
    series("step a cell", 30, {{}, 33.0}, [&](int i) { key(map_, i % 2 ? Qt::Key_Down : Qt::Key_Right); });
    series("layer step, held down", 12, {}, [&](int) { key(page_, Qt::Key_BraceRight, Qt::ShiftModifier); });
    series("head step", 12, {}, [&](int) { key(page_, Qt::Key_BracketRight); });
    selection.change([&](views::ViewState& state) {  // a map that the record holds
      state.layer = first.layer;
      state.head = first.head;
      // From the first row on, whatever it weighs: something is found each time.
      state.query_begin = state.query_end = 0;
      state.keys.clear();
      state.display.missed_from = 0;
    });
    settle();
    series("find missed", 12, {}, [&](int) { key(map_, Qt::Key_M); });
    series("fit colours", 3, {}, [&](int) { map_->fit_colours(); });
    look(length / 2, std::min(64.0, length / 2));
    series("select a pair", 12, {}, [&](int i) { click(i); });
    look(0, length);
    const int budget = page_index(window_->pages(), "budget");
    window_->show_page(budget);
    settle();
    series("budget drag", 40, {{}, 16.0}, [&](int i) {
      selection.change([&](views::ViewState& state) { state.budget = std::max(1.0, length * (i + 1) / 60); },
                       QStringLiteral("measured drag"));
    });
    series(
        "page switch", 15, {}, [&](int i) { window_->show_page(i % static_cast<int>(window_->pages().size())); },
        false);
    window_->show_page(page_index(window_->pages(), "attention"));
    settle();
    export_as("export, PNG", FigureFormat::png, "figure.png");
    export_as("export, PDF", FigureFormat::pdf, "figure.pdf");
    look(length / 2, std::min(400.0, length / 2));
    export_as("export, CSV", FigureFormat::csv, "numbers.csv");
  }

  /// Tiles of places where nobody was: those of single pairs are computed from q and k, those of larger cells come from
  /// the record where it holds them. All that is in sight is waited for; the first frame is looked at for holes.
  void tiles(double length, const std::function<void(double, double)>& look) {
    views::TileCache* cache = map_->cache();
    const double pixels = area().width();
    int holes = 0, frames = 0;
    const auto visit = [&](double cell) {
      const double span = std::min(length, pixels * cell * 0.9);
      for (int place = 1; place < 8; ++place) {
        changed_ = painted_ = false;
        wants_change_ = true;
        window_->selection().change([&](views::ViewState& state) {
          const double from = (length - span) * place / 8;
          state.viewport = {from, from + span, from / 2, from / 2 + span};
        });
        QElapsedTimer waiting;
        waiting.start();
        while (!painted_ && waiting.elapsed() < 250) QApplication::processEvents(QEventLoop::AllEvents);
        holes += map_->is_blank();
        ++frames;
        settle();
      }
    };
    settle();
    watch_.reset();
    cache->forget_taken();
    visit(1);
    print("a tile of single pairs", cache->taken().computed, watch_.worst_ms(), watch_.worst_own_ms(), {20.0, {}});
    watch_.reset();
    cache->forget_taken();
    for (const double cell : {16.0, 64.0, 4.0}) visit(cell);
    if (!cache->taken().stored.empty())
      print("a tile from the record", cache->taken().stored, watch_.worst_ms(), watch_.worst_own_ms(), {30.0, {}});
    if (!cache->taken().computed.empty())
      print("a tile of more, computed", cache->taken().computed, watch_.worst_ms(), watch_.worst_own_ms(), {});
    std::printf("%-28s %d of %d first frames had a place without a picture   hoped for: 0\n", "coarse picture at once",
                holes, frames);
    look(0, length);
  }

  /// `act` is done `times` times, each as soon as the frame of the one before is drawn; then all is waited for.
  void series(const char* name, int times, const Target& target, const std::function<void(int)>& act,
              bool changes_selection = true) {
    settle();
    watch_.reset();
    std::vector<double> taken, worked;
    for (int i = 0; i < times; ++i) {
      changed_ = painted_ = false;
      wants_change_ = changes_selection;
      QElapsedTimer clock;
      clock.start();
      const double before = own_ms_now();
      act(i);
      // Some of them change nothing that is drawn (the last row, no further missed pair).
      QElapsedTimer waiting;
      waiting.start();
      while (!painted_ && waiting.elapsed() < 250) QApplication::processEvents(QEventLoop::AllEvents);
      if (painted_) taken.push_back(ms_since(clock));
      if (painted_) worked.push_back(own_ms_now() - before);
    }
    settle();
    print(name, taken, watch_.worst_ms(), watch_.worst_own_ms(), target, true, worked);
  }

  void export_as(const char* name, FigureFormat format, const QString& file) {
    settle();
    watch_.reset();
    FigureOptions options;
    options.format = format;
    QElapsedTimer clock;
    clock.start();
    const QString problem = write_figure(*page_, window_->selection(), folder_.filePath(file), options);
    const double taken = ms_since(clock);
    settle();
    print(name, {taken}, watch_.worst_ms(), watch_.worst_own_ms(), {});
    if (!problem.isEmpty()) std::printf("  %s\n", qUtf8Printable(problem));
  }

  void key(QWidget* target, Qt::Key which, Qt::KeyboardModifiers modifiers = {}) {
    for (const auto type : {QEvent::KeyPress, QEvent::KeyRelease}) {
      QKeyEvent event(type, which, modifiers);
      QApplication::sendEvent(target, &event);
    }
  }

  QRect area() const { return map_->plot()->axisRect(1)->rect(); }

  void wheel(int delta) {
    const QPointF at = area().center();
    QWheelEvent event(at, map_->plot()->mapToGlobal(at), {}, {0, delta}, Qt::NoButton, Qt::NoModifier,
                      Qt::NoScrollPhase, false);
    QApplication::sendEvent(map_->plot(), &event);
  }

  void mouse(QEvent::Type type, QPointF at, Qt::MouseButton button) {
    QMouseEvent event(type, at, map_->plot()->mapToGlobal(at), button,
                      type == QEvent::MouseButtonPress ? button : Qt::NoButton, Qt::NoModifier);
    QApplication::sendEvent(map_->plot(), &event);
  }

  void hover(int i) {
    const QRect a = area();
    mouse(QEvent::MouseMove, QPointF(a.left() + 20 + (i * 7) % (a.width() / 3), a.center().y() + (i * 5) % 100),
          Qt::NoButton);
  }

  void click(int i) {
    const QRect a = area();
    const QPointF at(a.left() + 30 + i * 11, a.bottom() - 20 - i * 9);
    mouse(QEvent::MouseButtonPress, at, Qt::LeftButton);
    mouse(QEvent::MouseButtonRelease, at, Qt::LeftButton);
  }

  /// Until everything that was asked for is drawn.
  void settle() {
    const auto* inspector = window_->findChild<views::InspectorDock*>();
    QElapsedTimer clock;
    clock.start();
    for (int calm = 0; calm < 8 && clock.elapsed() < settle_patience_ms;) {
      QApplication::processEvents(QEventLoop::AllEvents);
      const Page& page = window_->pages()[window_->current_page()];
      calm = page.settled() && (!inspector || inspector->settled()) ? calm + 1 : 0;
      QThread::msleep(1);
    }
  }

  void print(const char* name, std::vector<double> taken, double stall, double own, const Target& target,
             bool watched = true, std::vector<double> worked = {}) {
    const auto of = [](const std::vector<double>& sorted, double part) {
      if (sorted.empty()) return 0.0;
      return sorted[static_cast<std::size_t>(part * static_cast<double>(sorted.size() - 1) + 0.5)];
    };
    std::sort(taken.begin(), taken.end());
    std::sort(worked.begin(), worked.end());
    const auto at = [&](double part) { return of(taken, part); };
    QStringList hoped;
    if (target.p95) hoped << QStringLiteral("p95 %1").arg(*target.p95);
    if (target.most) hoped << QStringLiteral("largest %1").arg(*target.most);
    if (watched) hoped << QStringLiteral("stall %1").arg(stall_target_ms);
    const bool missed = (target.p95 && at(0.95) > *target.p95) || (target.most && at(1) > *target.most) ||
                        (watched && stall > stall_target_ms);
    std::printf("%-28s %4zu %9.1f %9.1f %9.1f %9.1f %9.1f %9.1f   %s%s\n", name, taken.size(), at(0.5), at(0.95), at(1),
                stall, own, of(worked, 0.95), qUtf8Printable(hoped.join(QStringLiteral(", "))),
                missed ? "  (not reached)" : "");
    std::fflush(stdout);
    worst_stall_ = std::max(worst_stall_, stall);
    worst_own_ = std::max(worst_own_, own);
  }

  QTemporaryDir folder_;
  SettingsStore settings_;
  QString record_;
  std::unique_ptr<MainWindow> window_;
  LoopWatch watch_;
  views::AttentionPage* page_ = nullptr;
  views::AttentionMapWidget* map_ = nullptr;
  bool painted_ = false, changed_ = false, wants_change_ = false;
  double first_paint_ms_ = 0, worst_stall_ = 0, worst_own_ = 0;
};

}  // namespace

int measure_window(const CommandLine& line) {
  try {
    std::printf(
        "ms from an action to the next drawn frame; stall: the longest time the event loop was busy at a "
        "stretch, own: processor time of that thread in it; work p95: the same for one action; window of %dx%d\n",
        line.size.width(), line.size.height());
    Driver driver(line);
    return driver.run();
  } catch (const Error& error) {
    std::fprintf(stderr, "headroom-gui: %s\n", error.what());
    return static_cast<int>(error.kind());
  }
}

}  // namespace headroom::gui
