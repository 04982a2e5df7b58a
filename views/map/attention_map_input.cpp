// SPDX-License-Identifier: GPL-3.0-or-later
// Mouse and keys of the map widget: pan, zoom, select, step, pin.
#include <QFutureWatcher>
#include <QKeyEvent>
#include <QMouseEvent>
#include <QWheelEvent>
#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>

#include "views/common/pair_link.h"
#include "views/common/workers.h"
#include "views/map/attention_map_widget.h"
#include "views/map/map_scan.h"

namespace headroom::views {
namespace {

constexpr double smallest_view = 8;            // tokens
constexpr std::size_t near_bytes = 256 << 10;  // of bitmaps: what can be looked through between two frames
constexpr std::int64_t snap_cell = 32;         // largest cell in which a click looks for the strongest pair

}  // namespace

bool AttentionMapWidget::eventFilter(QObject* watched, QEvent* event) {
  if (watched != plot_) return QWidget::eventFilter(watched, event);
  switch (event->type()) {
    case QEvent::MouseButtonPress:
      mouse_press(static_cast<QMouseEvent*>(event));
      return true;
    case QEvent::MouseMove:
      mouse_move(static_cast<QMouseEvent*>(event));
      return true;
    case QEvent::MouseButtonRelease:
      mouse_release(static_cast<QMouseEvent*>(event));
      return true;
    case QEvent::Wheel:
      mouse_wheel(static_cast<QWheelEvent*>(event));
      return true;
    case QEvent::Leave:
      leave();
      return false;
    case QEvent::Resize:
      QMetaObject::invokeMethod(
          this, [this] { place_overlays(); }, Qt::QueuedConnection);
      return false;
    default:
      return false;
  }
}

void AttentionMapWidget::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  place_overlays();
}

MapPoint AttentionMapWidget::pair_at(QPointF position, bool* mirrored) const {
  if (mirrored) *mirrored = false;
  if (!primary_ || !map_->keyAxis()->axisRect()->rect().contains(position.toPoint())) return {};
  const double key = std::floor(map_->keyAxis()->pixelToCoord(position.x()));
  const double query = std::floor(map_->query_at(position.y()));
  const double length = static_cast<double>(primary_->length);
  if (key < 0 || query < 0 || key >= length || query >= length) return {};
  MapPoint point{static_cast<std::int64_t>(query), static_cast<std::int64_t>(key)};
  if (point.key > point.query && map_->style().layout == MapLayout::diagonal_split) {
    std::swap(point.query, point.key);
    if (mirrored) *mirrored = true;
  }
  return point;
}

MapPoint AttentionMapWidget::cursor() const {
  const MapPoint hover = selection_->hover();
  if (!stepping_ && (hover.query >= 0 || hover.key >= 0)) return hover;
  const ViewState& state = selection_->state();
  MapPoint point;
  if (state.query_end - state.query_begin == 1) point.query = state.query_begin;
  if (state.keys.size() == 1) point.key = *state.keys.begin();
  return point;
}

void AttentionMapWidget::leave() {
  pointer_.reset();
  stepping_ = false;
  stop_hovering();
}

void AttentionMapWidget::stop_hovering() {
  hover_mirrored_ = false;
  marks_->set_mirrored_hover(false);
  selection_->set_hover({});
}

void AttentionMapWidget::follow_pointer() {
  if (!pointer_ || stepping_ || !isVisible()) return;
  const MapPoint point = pair_at(*pointer_, &hover_mirrored_);
  marks_->set_mirrored_hover(hover_mirrored_);
  // Above the diagonal nothing is visible to the query: only the positions are of interest.
  selection_->set_hover(point);
}

void AttentionMapWidget::hideEvent(QHideEvent* event) {
  if (pointer_) leave();
  QWidget::hideEvent(event);
}

MapPoint AttentionMapWidget::strongest_in_cell(MapPoint point) const {
  const std::int64_t cell = std::int64_t{1} << map_->composition().level;
  const auto& stream = primary_->stream;
  if (!stream || cell == 1 || cell > snap_cell || point.key > point.query) return point;
  MapPoint best = point;
  float largest = -1;
  // What would have to be read from the file first is not worth the wait: the cell's corner will do.
  if (!record::is_here(*stream, primary_->source.head, point.query, point.key)) return point;
  const std::int64_t row0 = std::max(point.query / cell * cell, stream->query_begin), key0 = point.key / cell * cell;
  for (std::int64_t query = row0; query < std::min(row0 + cell, primary_->length); ++query) {
    for (std::int64_t key = key0; key < std::min(key0 + cell, query + 1); ++key) {
      if (!record::is_here(*stream, primary_->source.head, query, key)) continue;
      const float p = record::probability(*stream, primary_->source.head, query, key);
      if (p > largest) largest = p, best = {query, key};
    }
  }
  return best;
}

void AttentionMapWidget::mouse_press(QMouseEvent* event) {
  setFocus(Qt::MouseFocusReason);
  if (event->button() != Qt::LeftButton || !primary_) return;
  pressed_ = true;
  dragging_ = false;
  stepping_ = false;
  pointer_ = event->position();
  selecting_rows_ = event->modifiers() & Qt::ShiftModifier;
  selecting_keys_ = !selecting_rows_ && (event->modifiers() & Qt::ControlModifier);
  press_keys_ = selection_->state().keys;
  press_position_ = event->position();
  press_pair_ = pair_at(event->position());
  press_view_ = selection_->state().viewport;
  ++drag_number_;
}

void AttentionMapWidget::mouse_move(QMouseEvent* event) {
  // Some platforms repeat the last position when what is under it is drawn anew: that is no move.
  if (!pointer_ || *pointer_ != event->position()) stepping_ = false;
  pointer_ = event->position();
  follow_pointer();
  if (!pressed_) return;
  const QPointF moved = event->position() - press_position_;
  if (!dragging_ && moved.manhattanLength() < 5) return;
  dragging_ = true;
  const QString merge_key = QStringLiteral("drag %1").arg(drag_number_);
  if (selecting_rows_) {
    const double query = map_->query_at(event->position().y());
    const auto end =
        static_cast<std::int64_t>(std::clamp(std::floor(query), 0.0, static_cast<double>(primary_->length - 1)));
    if (press_pair_.query < 0) return;
    selection_->change(
        [&](ViewState& state) {
          state.query_begin = std::min(press_pair_.query, end);
          state.query_end = std::max(press_pair_.query, end) + 1;
        },
        merge_key);
    return;
  }
  if (selecting_keys_) return drag_keys(event->position().x(), merge_key);
  plot_->setCursor(Qt::ClosedHandCursor);
  const QRect area = map_->keyAxis()->axisRect()->rect();
  const double keys = -moved.x() / area.width() * (press_view_.key_end - press_view_.key_begin);
  const double queries = -moved.y() / area.height() * (press_view_.query_end - press_view_.query_begin);
  Viewport view = press_view_;
  view.key_begin += keys, view.key_end += keys, view.query_begin += queries, view.query_end += queries;
  set_view(view, merge_key);
}

void AttentionMapWidget::drag_keys(double x, const QString& merge_key) {
  if (press_pair_.query < 0) return;  // it began beside the map
  const auto key_at = [&](double at) {
    return static_cast<std::int64_t>(std::clamp(std::floor(map_->keyAxis()->pixelToCoord(at)), 0.0,
                                                static_cast<double>(primary_->length - 1)));
  };
  const std::int64_t from = key_at(press_position_.x());
  const std::int64_t to = std::clamp(key_at(x), from - (most_dragged_keys - 1), from + (most_dragged_keys - 1));
  selection_->change(
      [&](ViewState& state) {
        state.keys = press_keys_;  // beside those that were chosen before, as with a click
        for (std::int64_t key = std::min(from, to); key <= std::max(from, to); ++key) state.keys.insert(key);
      },
      merge_key);
}

void AttentionMapWidget::mouse_release(QMouseEvent* event) {
  if (!pressed_ || event->button() != Qt::LeftButton) return;
  pressed_ = false;
  plot_->unsetCursor();
  selection_->end_merge();
  if (dragging_) return;
  bool mirrored = false;
  MapPoint point = pair_at(event->position(), &mirrored);
  if (point.query < 0) return;
  if (!mirrored) point = strongest_in_cell(point);
  const bool shift = event->modifiers() & Qt::ShiftModifier, add = event->modifiers() & Qt::ControlModifier;
  selection_->change([&](ViewState& state) {
    if (shift && state.query_end > state.query_begin) {  // extends the rows up to here
      state.query_end = std::max(state.query_end, point.query + 1);
      state.query_begin = std::min(state.query_begin, point.query);
      return;
    }
    state.query_begin = point.query;
    state.query_end = point.query + 1;
    if (!add) state.keys.clear();
    if (point.key <= point.query) state.keys.insert(point.key);
  });
}

void AttentionMapWidget::mouse_wheel(QWheelEvent* event) {
  if (!primary_) return;
  stepping_ = false;
  pointer_ = event->position();
  const QPoint delta = event->angleDelta();
  const double steps = delta.y() / 120.0;
  const QString merge_key = QStringLiteral("wheel");
  if (!last_wheel_.isValid() || last_wheel_.elapsed() > 800) selection_->end_merge();  // a pause ends the step
  last_wheel_.start();
  if (event->modifiers() & Qt::ShiftModifier) {
    const Viewport& view = selection_->state().viewport;
    move_view(-(steps + delta.x() / 120.0) * 0.1 * (view.key_end - view.key_begin), 0, merge_key);
  } else if (steps != 0) {
    zoom(std::pow(1.25, -steps),
         {map_->keyAxis()->pixelToCoord(event->position().x()), map_->query_at(event->position().y())}, merge_key);
  }
  event->accept();
}

void AttentionMapWidget::zoom(double factor, QPointF centre, const QString& merge_key) {
  const Viewport& view = selection_->state().viewport;
  const double keys = view.key_end - view.key_begin, queries = view.query_end - view.query_begin;
  if (keys <= 0 || queries <= 0) return;
  factor = std::max(factor, smallest_view / std::max(keys, queries));
  Viewport next;
  next.key_begin = centre.x() - (centre.x() - view.key_begin) * factor;
  next.key_end = next.key_begin + keys * factor;
  next.query_begin = centre.y() - (centre.y() - view.query_begin) * factor;
  next.query_end = next.query_begin + queries * factor;
  set_view(next, merge_key);
}

void AttentionMapWidget::move_view(double key_tokens, double query_tokens, const QString& merge_key) {
  Viewport view = selection_->state().viewport;
  view.key_begin += key_tokens, view.key_end += key_tokens;
  view.query_begin += query_tokens, view.query_end += query_tokens;
  set_view(view, merge_key);
}

void AttentionMapWidget::set_view(Viewport view, const QString& merge_key) {
  if (!primary_) return;
  const double length = static_cast<double>(primary_->length);
  const auto fit = [length](double& begin, double& end) {
    const double span = std::min(end - begin, length);
    begin = std::clamp(begin, 0.0, length - span);
    end = begin + span;
  };
  fit(view.key_begin, view.key_end);
  fit(view.query_begin, view.query_end);
  selection_->change([&](ViewState& state) { state.viewport = view; }, merge_key);
}

void AttentionMapWidget::fit_view() {
  if (!primary_) return;
  const double length = static_cast<double>(primary_->length);
  set_view({0, length, 0, length}, {});
}

void AttentionMapWidget::show_pair(MapPoint point) {
  if (!primary_ || point.query < 0 || point.query >= primary_->length) return;
  // The chosen pair is what is described, until the mouse moves.
  stop_hovering();
  stepping_ = true;
  selection_->change(
      [&](ViewState& state) {
        state.query_begin = point.query;
        state.query_end = point.query + 1;
        state.keys.clear();
        if (point.key >= 0) state.keys.insert(point.key);
        reveal_pair(state, point, primary_->length);
      },
      QStringLiteral("step"));
}

void AttentionMapWidget::step_cursor(int rows, int keys) {
  if (!primary_) return;
  const ViewState& state = selection_->state();
  const std::int64_t cell = std::int64_t{1} << map_->composition().level;
  MapPoint point{state.query_begin, state.keys.empty() ? 0 : *state.keys.begin()};
  if (state.query_end <= state.query_begin) {
    const Viewport& view = state.viewport;
    point = {static_cast<std::int64_t>((view.query_begin + view.query_end) / 2),
             static_cast<std::int64_t>(view.key_begin)};
  } else {
    point.query += rows * cell;
    point.key += keys * cell;
  }
  point.query = std::clamp<std::int64_t>(point.query, 0, primary_->length - 1);
  point.key = std::clamp<std::int64_t>(point.key, 0, point.query);
  show_pair(point);
}

void AttentionMapWidget::step_selected_key(int direction) {
  if (!primary_ || !primary_->support) return;
  const ViewState& state = selection_->state();
  if (state.query_end <= state.query_begin) return;
  const std::int64_t query = state.query_begin;
  if (!primary_->support->is_here(query)) {  // read by a worker, then stepped
    auto* watcher = new QFutureWatcher<bool>(this);
    connect(watcher, &QFutureWatcherBase::finished, this, [this, watcher, query, direction, data = primary_] {
      watcher->deleteLater();
      if (watcher->result() && primary_ == data && selection_->state().query_begin == query)
        step_selected_key(direction);
    });
    watcher->setFuture(in_worker([data = primary_, query] {
      try {
        data->support->test(query, 0);
        return data->support->is_here(query);
      } catch (const std::exception&) {
        return false;
      }
    }));
    return;
  }
  std::int64_t key = state.keys.empty() ? (direction > 0 ? -1 : query + 1) : *state.keys.begin();
  do key += direction;
  while (key >= 0 && key <= query && !primary_->support->test(query, key));
  if (key >= 0 && key <= query) show_pair({query, key});
}

void AttentionMapWidget::next_missed() {
  searching_.request_stop();
  if (!primary_ || !primary_->has_overlay()) return;
  const ViewState& state = selection_->state();
  const bool chosen = state.query_end > state.query_begin;
  MapPoint from{chosen ? state.query_begin : static_cast<std::int64_t>(std::max(0.0, state.viewport.query_begin)),
                chosen && !state.keys.empty() ? *state.keys.begin() : -1};
  // Rows of a long prompt are in the file: a worker looks through all of them.
  MissedSearch near{{-1, -1}, from, false};
  if (primary_->support->is_whole() && (!primary_->stream || !primary_->stream->window))
    near = find_missed(*primary_, from, state.display.missed_from, near_bytes);
  if (near.found.query >= 0) return show_pair(near.found);
  if (near.finished) return;
  searching_ = std::stop_source();
  search_query_ = state.query_begin;
  search_keys_ = state.keys;
  auto* watcher = new QFutureWatcher<MissedSearch>(this);
  connect(watcher, &QFutureWatcherBase::finished, this, [this, watcher, stop = searching_.get_token()] {
    watcher->deleteLater();
    const MapPoint found = watcher->result().found;
    if (found.query >= 0 && !stop.stop_requested() && is_where_search_began()) show_pair(found);
  });
  watcher->setFuture(
      in_worker([data = primary_, next = near.next, least = state.display.missed_from, stop = searching_.get_token()] {
        try {
          return find_missed(*data, next, least, std::numeric_limits<std::size_t>::max(), stop);
        } catch (const std::exception&) {
          return MissedSearch{{-1, -1}, next, true};  // damaged rows: the map says what it is
        }
      }));
}

bool AttentionMapWidget::is_where_search_began() const {
  return selection_->state().query_begin == search_query_ && selection_->state().keys == search_keys_;
}

void AttentionMapWidget::toggle_pin() {
  const MapPoint point = cursor();
  if (point.query < 0 || point.key < 0 || point.key > point.query) return;
  selection_->change([&](ViewState& state) {
    const auto at = std::find(state.pins.begin(), state.pins.end(), point);
    if (at == state.pins.end())
      state.pins.push_back(point);
    else
      state.pins.erase(at);
  });
}

QVector<PageCommand> AttentionMapWidget::commands() {
  const auto pan = [this](double keys, double queries) {
    const Viewport& view = selection_->state().viewport;
    move_view(0.15 * keys * (view.key_end - view.key_begin), 0.15 * queries * (view.query_end - view.query_begin),
              QStringLiteral("pan"));
  };
  const auto zoom_by = [this](double factor) {
    const Viewport& view = selection_->state().viewport;
    zoom(factor, {(view.key_begin + view.key_end) / 2, (view.query_begin + view.query_end) / 2},
         QStringLiteral("zoom"));
  };
  return {
      {tr("Pan up"), "W", {Qt::Key_W}, [pan] { pan(0, -1); }},
      {tr("Pan left"), "A", {Qt::Key_A}, [pan] { pan(-1, 0); }},
      {tr("Pan down"), "S", {Qt::Key_S}, [pan] { pan(0, 1); }},
      {tr("Pan right"), "D", {Qt::Key_D}, [pan] { pan(1, 0); }},
      {tr("Zoom in"), "+", {Qt::Key_Plus, Qt::SHIFT | Qt::Key_Plus, Qt::Key_Equal}, [zoom_by] { zoom_by(0.8); }},
      {tr("Zoom out"), "-", {Qt::Key_Minus}, [zoom_by] { zoom_by(1.25); }},
      {tr("Show the whole map"), "F", {Qt::Key_F}, [this] { fit_view(); }},
      {tr("Step to the query above"), tr("Up"), {Qt::Key_Up}, [this] { step_cursor(-1, 0); }},
      {tr("Step to the query below"), tr("Down"), {Qt::Key_Down}, [this] { step_cursor(1, 0); }},
      {tr("Step to the key on the left"), tr("Left"), {Qt::Key_Left}, [this] { step_cursor(0, -1); }},
      {tr("Step to the key on the right"), tr("Right"), {Qt::Key_Right}, [this] { step_cursor(0, 1); }},
      {tr("Previous selected key"), ",", {Qt::Key_Comma}, [this] { step_selected_key(-1); }},
      {tr("Next selected key"), ".", {Qt::Key_Period}, [this] { step_selected_key(1); }},
      {tr("Next missed key"), "M", {Qt::Key_M}, [this] { next_missed(); }},
      {tr("Pin the place under the cursor, or take its pin away"), "P", {Qt::Key_P}, [this] { toggle_pin(); }},
  };
}

void AttentionMapWidget::keyPressEvent(QKeyEvent* event) {
  if (run_command(commands(), *event))
    event->accept();
  else
    QWidget::keyPressEvent(event);
}

}  // namespace headroom::views
