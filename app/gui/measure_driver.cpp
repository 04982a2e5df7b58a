// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/measure_driver.h"

#include <QApplication>
#include <QKeyEvent>
#include <QLineEdit>
#include <QMouseEvent>
#include <QTemporaryDir>
#include <QThread>
#include <QWheelEvent>
#include <algorithm>
#include <cstdio>
#include <functional>
#include <vector>

#include "base/error.h"
#include "gui/actions.h"
#include "gui/exporter.h"
#include "gui/file_names.h"
#include "gui/main_window.h"
#include "gui/measure_table.h"
#include "views/common/banner_bar.h"
#include "views/compare/compare_page.h"
#include "views/docks/inspector_dock.h"
#include "views/map/attention_map_widget.h"
#include "views/map/attention_page.h"
#include "views/missed/missed_panel.h"
#include "views/prompt/prompt_panel.h"

namespace headroom::gui {
namespace {

constexpr int frame_patience_ms = 5000, settle_patience_ms = 120000;
constexpr int no_frame_after_ms = 250;  // some actions change nothing that is drawn: the last row, no further match

class Driver : public QObject {
 public:
  Driver(const CommandLine& line)
      : settings_(folder_.filePath(QStringLiteral("settings.ini"))), record_(line.records.first()), size_(line.size) {
    const Stopwatch clock;
    StartOptions options;
    options.use_engine = false;
    options.quiet = true;
    options.size = line.size;
    window_ = std::make_unique<MainWindow>(settings_, options);
    qApp->installEventFilter(this);
    QObject::connect(&window_->selection(), &views::Selection::changed, this, [this] { changed_ = true; });
    QObject::connect(&window_->selection(), &views::Selection::hover_changed, this, [this] { changed_ = true; });
    window_->show();
    while (!painted_ && clock.ms() < frame_patience_ms) QApplication::processEvents(QEventLoop::AllEvents, 5);
    first_paint_ = clock.sample();
  }

  int run() {
    table_.head(size_.width(), size_.height());
    table_.line("first paint", {first_paint_}, nullptr, {{}, 300.0});
    open();
    map_ = page_->map();
    walk();
    table_.foot();
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
  using Edit = std::function<void(views::ViewState& state)>;

  template <typename Widget>
  Widget* page(const char* id) {
    return static_cast<Widget*>(window_->pages()[index(id)].widget);
  }
  int index(const char* id) { return page_index(window_->pages(), QString::fromLatin1(id)); }
  void show(const char* id) {
    window_->show_page(index(id));
    settle();
  }

  void open() {
    show("attention");
    page_ = page<views::AttentionPage>("attention");
    watch_.reset();
    const Stopwatch clock;
    window_->open_record(record_);
    while (clock.ms() < settle_patience_ms && !page_->map()->is_drawn() && window_->banners().count() == 0)
      QApplication::processEvents(QEventLoop::AllEvents, 5);
    if (!window_->selection().record()) throw input_error(bytes_of_name(record_), "could not be opened");
    const Sample first_map = clock.sample();
    settle();
    table_.line("open, to the first map", {first_map}, &watch_, {{}, 500.0});
  }

  void edit(const Edit& what, const QString& merge_key = {}) { window_->selection().change(what, merge_key); }

  void look(double from, double span) {
    edit([&](views::ViewState& state) { state.viewport = {from, from + span, from / 2, from / 2 + span}; });
    settle();
  }

  void walk() {
    const auto record = window_->selection().record();
    length_ = static_cast<double>(record->length());
    first_ = window_->selection().state();
    walk_map();
    walk_rows();
    walk_text();
    walk_missed();
    walk_compare();
    walk_pages();
    walk_exports();
  }

  void walk_map() {
    look(length_ / 3, length_ / 4);
    series("pan", 60, {8.0, 16.0}, [&](int i) { key(map_, i % 20 < 10 ? Qt::Key_D : Qt::Key_A); });
    look(0, length_);
    series("zoom", 60, {8.0, 16.0}, [&](int i) { wheel(i < 30 ? 120 : -120); });
    tiles();
    look(0, length_);
    series("recolour", 30, {{}, 16.0},
           [&](int i) { edit([&](views::ViewState& state) { state.colour_min = 1e-7 * (1 + i); }); });
    series("overlay on and off", 8, {},
           [&](int i) { edit([&](views::ViewState& state) { state.display.hit = i % 2 == 0; }); });
    series("lift, rank, probability", 9, {}, [&](int i) {
      edit([&](views::ViewState& state) { state.display.mode = static_cast<views::MapMode>((i + 1) % 3); });
    });
    series("hover", 60, {{}, 33.0}, [&](int i) { hover(i); });
    series("step a cell", 30, {{}, 33.0}, [&](int i) { key(map_, i % 2 ? Qt::Key_Down : Qt::Key_Right); });
    series("layer step, held down", 12, {}, [&](int) { key(page_, Qt::Key_BraceRight, Qt::ShiftModifier); });
    series("head step", 12, {}, [&](int) { key(page_, Qt::Key_BracketRight); });
    edit([&](views::ViewState& state) {  // a map that the record holds
      state.layer = first_.layer;
      state.head = first_.head;
    });
    settle();
    series("fit colours", 3, {}, [&](int) { map_->fit_colours(); });
    series("undo, redo", 20, {},
           [&](int i) { i < 10 ? window_->selection().undo() : window_->selection().redo(); });
    series("another size of the window", 8, {},
           [&](int i) { window_->resize(size_ - QSize(20, 12) * (i % 4)); }, false);
    window_->resize(size_);
  }

  void walk_rows() {
    edit([&](views::ViewState& state) {
      // From the first row on, whatever it weighs: something is found each time.
      state.query_begin = state.query_end = 0;
      state.keys.clear();
      state.display.missed_from = 0;
    });
    settle();
    series("find missed (M)", 12, {}, [&](int) { key(map_, Qt::Key_M); });
    look(length_ / 2, std::min(64.0, length_ / 2));
    series("select a pair", 12, {}, [&](int i) { click(i); });
    look(0, length_);
    const QRect a = area();
    mouse(QEvent::MouseButtonPress, a.center(), Qt::LeftButton, Qt::ShiftModifier);
    series("choose rows by dragging", 20, {}, [&](int i) {
      mouse(QEvent::MouseMove, QPointF(a.center().x(), a.center().y() + 6 + 3 * i), Qt::LeftButton, Qt::ShiftModifier);
    });
    mouse(QEvent::MouseButtonRelease, QPointF(a.center().x(), a.center().y() + 63), Qt::LeftButton, Qt::ShiftModifier);
    settle();
  }

  void walk_text() {
    auto* prompt = window_->findChild<views::PromptPanel*>();
    // The word in the middle of the text, letter by letter, then from match to match.
    QString word = QStringLiteral("the");
    const record::TokenTable& tokens = window_->selection().record()->tokens();
    for (std::size_t i = tokens.begin.size() / 2; i < tokens.begin.size(); ++i) {
      const QString text =
          QString::fromUtf8(tokens.text.data() + tokens.begin[i], tokens.end[i] - tokens.begin[i]).trimmed();
      if (text.size() < 3) continue;
      word = text;
      break;
    }
    window_->actions().find->trigger();
    series("find, a letter more", static_cast<int>(word.size()), {},
           [&](int i) { prompt->find_field()->setText(word.left(i + 1)); }, false);
    series("find, next match", 12, {}, [&](int) { key(prompt->find_field(), Qt::Key_Return); }, false);
    prompt->find_field()->clear();
    series("go to a token", 12, {},
           [&](int i) { map_->show_pair({static_cast<std::int64_t>(length_ * (12 - i) / 13), -1}); });
  }

  void walk_missed() {
    if (!map_->data() || !map_->data()->has_overlay())
      return table_.left_out("list of missed keys", QStringLiteral("no supports in the record"));
    edit([&](views::ViewState& state) {
      state.query_begin = static_cast<std::int64_t>(length_ / 2);
      state.query_end = std::min(static_cast<std::int64_t>(length_), state.query_begin + 64);
      state.display.missed_scope = views::MissedScope::rows;
    });
    settle();
    watch_.reset();
    const Stopwatch clock;
    window_->ask_missed(views::MissedQuestion::missed);
    settle();
    table_.line("list of missed keys, 64 rows", {clock.sample()}, &watch_, {});
    series("line of the list", 6, {}, [&](int i) { window_->missed_panel().go_to_line(i); }, false);
  }

  void walk_compare() {
    const auto record = window_->selection().record();
    if (record->methods().size() < 2)
      return table_.left_out("compare", QStringLiteral("one method in the record"));
    watch_.reset();
    const Stopwatch clock;
    show("compare");
    table_.line("compare, opened", {clock.sample()}, &watch_, {});
    edit([&](views::ViewState& state) { state.viewport = {0, length_, 0, length_}; });
    settle();
    series("compare, way of showing", 8, {}, [&](int i) {
      edit([&](views::ViewState& state) { state.display.compare_mode = static_cast<views::CompareMode>((i + 1) % 4); });
    });
    edit([](views::ViewState& state) { state.display.compare_mode = views::CompareMode::side_by_side; });
    series("compare, zoom", 20, {}, [&](int i) {
      edit([&](views::ViewState& state) {
        const double span = length_ / (1 + 0.2 * i);
        state.viewport = {length_ - span, length_, 0, span};
      });
    });
    auto* compare = page<views::ComparePage>("compare");
    series("compare, one more candidate", static_cast<int>(std::min<std::size_t>(record->methods().size() - 2, 3)), {},
           [&](int) { compare->add_candidate(); });
  }

  void walk_pages() {
    show("overview");
    const char* const statistics[] = {"entropy", "sink_mass", "captured_mass"};
    series("overview, another number", 6, {}, [&](int i) {
      edit([&](views::ViewState& state) { state.display.grid_statistic = QString::fromLatin1(statistics[i % 3]); });
    });
    show("budget");
    series("budget drag", 40, {{}, 16.0}, [&](int i) {
      edit([&](views::ViewState& state) { state.budget = std::max(1.0, length_ * (i + 1) / 60); },
           QStringLiteral("measured drag"));
    });
    series("page switch", 15, {},
           [&](int i) { window_->show_page(i % static_cast<int>(window_->pages().size())); }, false);
    show("attention");
    series("light and dark", 4, {}, [&](int) { window_->actions().dark->trigger(); }, false);
    series("size of the text", 4, {}, [&](int i) { window_->set_text_scale(i % 2 ? 100 : 125); }, false);
    look(0, length_);
  }

  void walk_exports() {
    export_as("export, PNG", FigureFormat::png, "figure.png");
    export_as("export, PDF", FigureFormat::pdf, "figure.pdf");
    export_as("export, SVG", FigureFormat::svg, "figure.svg");
    look(length_ / 2, std::min(400.0, length_ / 2));
    export_as("export, CSV", FigureFormat::csv, "numbers.csv");
    const Stopwatch clock;
    watch_.reset();
    window_->actions().copy_figure->trigger();
    settle();
    table_.line("copy the figure", {clock.sample()}, &watch_, {});
  }

  /// Tiles of places where nobody was: those of single pairs are computed from q and k, those of larger cells come from
  /// the record where it holds them. All that is in sight is waited for; the first frame is looked at for holes.
  void tiles() {
    views::TileCache* cache = map_->cache();
    const double pixels = area().width();
    int holes = 0, frames = 0;
    const auto visit = [&](double cell) {
      const double span = std::min(length_, pixels * cell * 0.9);
      for (int place = 1; place < 8; ++place) {
        act_and_wait([&] {
          edit([&](views::ViewState& state) {
            const double from = (length_ - span) * place / 8;
            state.viewport = {from, from + span, from / 2, from / 2 + span};
          });
        });
        holes += map_->is_blank();
        ++frames;
        settle();
      }
    };
    settle();
    watch_.reset();
    cache->forget_taken();
    visit(1);
    table_.line_of_workers("a tile of single pairs", cache->taken().computed, &watch_, {20.0, {}});
    watch_.reset();
    cache->forget_taken();
    for (const double cell : {16.0, 64.0, 4.0}) visit(cell);
    if (!cache->taken().stored.empty())
      table_.line_of_workers("a tile from the record", cache->taken().stored, &watch_, {30.0, {}});
    if (!cache->taken().computed.empty())
      table_.line_of_workers("a tile of more, computed", cache->taken().computed, &watch_, {});
    std::printf("%-30s %d of %d first frames had a place without a picture   hoped for: 0\n", "coarse picture at once",
                holes, frames);
  }

  /// Until the frame that shows it; false where none came.
  bool act_and_wait(const std::function<void()>& act, bool changes_selection = true) {
    changed_ = painted_ = false;
    wants_change_ = changes_selection;
    act();
    const Stopwatch waiting;
    while (!painted_ && waiting.ms() < no_frame_after_ms) QApplication::processEvents(QEventLoop::AllEvents);
    return painted_;
  }

  /// `act` is done `times` times, each as soon as the frame of the one before is drawn; then all is waited for.
  void series(const char* name, int times, const Target& target, const std::function<void(int)>& act,
              bool changes_selection = true) {
    settle();
    watch_.reset();
    std::vector<Sample> samples;
    for (int i = 0; i < times; ++i) {
      const Stopwatch clock;
      if (act_and_wait([&] { act(i); }, changes_selection)) samples.push_back(clock.sample());
    }
    settle();
    if (times == 0) return table_.left_out(name, QStringLiteral("nothing to choose from in the record"));
    table_.line(name, samples, &watch_, target);
  }

  void export_as(const char* name, FigureFormat format, const QString& file) {
    settle();
    watch_.reset();
    FigureOptions options;
    options.format = format;
    const Stopwatch clock;
    const QString problem = write_figure(*page_, window_->selection(), folder_.filePath(file), options);
    const Sample taken = clock.sample();
    settle();
    table_.line(name, {taken}, &watch_, {});
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

  void mouse(QEvent::Type type, QPointF at, Qt::MouseButton button, Qt::KeyboardModifiers modifiers = {}) {
    QMouseEvent event(type, at, map_->plot()->mapToGlobal(at), type == QEvent::MouseMove ? Qt::NoButton : button,
                      type == QEvent::MouseButtonRelease ? Qt::NoButton : button, modifiers);
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
    const Stopwatch clock;
    for (int calm = 0; calm < 8 && clock.ms() < settle_patience_ms;) {
      QApplication::processEvents(QEventLoop::AllEvents);
      const Page& page = window_->pages()[window_->current_page()];
      const views::MissedPanel& missed = window_->missed_panel();
      const bool done = page.settled() && (!inspector || inspector->settled()) &&
                        (!missed.isVisible() || missed.settled());
      calm = done ? calm + 1 : 0;
      QThread::msleep(1);
    }
  }

  QTemporaryDir folder_;
  SettingsStore settings_;
  QString record_;
  QSize size_;
  std::unique_ptr<MainWindow> window_;
  LoopWatch watch_;
  MeasureTable table_;
  views::AttentionPage* page_ = nullptr;
  views::AttentionMapWidget* map_ = nullptr;
  bool painted_ = false, changed_ = false, wants_change_ = false;
  double length_ = 0;
  views::ViewState first_;  ///< as the record was opened
  Sample first_paint_;
};

}  // namespace

int measure_window(const CommandLine& line) {
  try {
    Driver driver(line);
    return driver.run();
  } catch (const Error& error) {
    std::fprintf(stderr, "headroom-gui: %s\n", error.what());
    return static_cast<int>(error.kind());
  }
}

}  // namespace headroom::gui
