// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/compare/compare_grid.h"

#include <qcustomplot.h>

#include <algorithm>
#include <cstdlib>

#include "views/map/attention_map_widget.h"

namespace headroom::views {
namespace {

constexpr int gap = 10;
constexpr int smallest = 40;
constexpr int most_rounds = 20;
constexpr int quiet_ms = 500;

}  // namespace

CompareGrid::CompareGrid(QWidget* parent) : QWidget(parent) {
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Expanding);
  // Many changes in a short time look like such a circle as well: what they left is looked at once it is quiet.
  again_.setSingleShot(true);
  again_.setInterval(quiet_ms + 100);
  connect(&again_, &QTimer::timeout, this, [this] {
    if (tries_left_-- <= 0) return;
    for (std::size_t i = 0; i < slots_.size(); ++i) measure(i);
  });
}

void CompareGrid::add_pane(const MapPane& pane) {
  pane.widget->setParent(this);
  slots_.push_back({pane, {60, 40}});
  const std::size_t index = slots_.size() - 1;
  // Axes take the room that their labels need, which is known when they are laid out.
  connect(pane.map->plot(), &QCustomPlot::afterReplot, this, [this, index] { measure(index); });
}

void CompareGrid::measure(std::size_t index) {
  Slot& slot = slots_[index];
  const QRect inner = slot.pane.map->plot()->axisRect(1)->rect();
  if (slot.pane.widget->isHidden() || inner.width() < 1) return;
  const QSize around = slot.pane.map->size() - inner.size(), change = around - slot.around;
  if (std::max(std::abs(change.width()), std::abs(change.height())) <= 1) return;
  // Another size may bring other labels, and so on: a few rounds, then it stays as it is until something else changes.
  if (!last_measured_.isValid() || last_measured_.elapsed() > quiet_ms) rounds_ = 0;
  last_measured_.start();
  if (++rounds_ > most_rounds) return again_.start();
  slot.around = around;
  QMetaObject::invokeMethod(this, &CompareGrid::arrange, Qt::QueuedConnection);
}

QSize CompareGrid::minimumSizeHint() const {
  return {240, 240};
}

void CompareGrid::place() {
  tries_left_ = 1;
  arrange();
}

void CompareGrid::arrange() {
  std::vector<Slot*> shown;
  int words = 0;
  for (Slot& slot : slots_) {
    if (slot.pane.widget->isHidden()) continue;
    shown.push_back(&slot);
    words = std::max(words, slot.pane.title->sizeHint().height() + slot.pane.note->sizeHint().height() + 4);
  }
  if (shown.empty()) return;
  const int count = static_cast<int>(shown.size());
  struct Plan {
    int columns = 1, side = 0;
    std::vector<int> widths, heights;  ///< around the squares of a column and of a row
  } best;
  for (int columns = 1; columns <= count; ++columns) {
    const int rows = (count + columns - 1) / columns;
    Plan plan{columns, 0, std::vector<int>(static_cast<std::size_t>(columns), 0),
              std::vector<int>(static_cast<std::size_t>(rows), 0)};
    for (int i = 0; i < count; ++i) {
      const QSize around = shown[static_cast<std::size_t>(i)]->around;
      int& width = plan.widths[static_cast<std::size_t>(i % columns)];
      int& height = plan.heights[static_cast<std::size_t>(i / columns)];
      width = std::max(width, around.width());
      height = std::max(height, around.height() + words);
    }
    const auto left = [](int room, const std::vector<int>& taken) {
      const int parts = static_cast<int>(taken.size());
      for (const int one : taken) room -= one;
      return (room - gap * (parts - 1)) / parts;
    };
    plan.side = std::max(smallest, std::min(left(width(), plan.widths), left(height(), plan.heights)));
    if (plan.side > best.side) best = plan;
  }
  side_ = best.side;
  int y = 0;
  for (int i = 0; i < count;) {
    int x = 0;
    const int row_height = side_ + best.heights[static_cast<std::size_t>(i / best.columns)];
    for (int column = 0; column < best.columns && i < count; ++column, ++i) {
      const Slot& slot = *shown[static_cast<std::size_t>(i)];
      const int column_width = side_ + best.widths[static_cast<std::size_t>(column)];
      // A map that stands alone in its row lends its title the rest of it.
      const int title_width = best.columns == 1 ? std::max(column_width, width()) : column_width;
      slot.pane.widget->setGeometry(x, y, title_width, row_height);
      int top = 0;
      for (QLabel* label : {slot.pane.title, slot.pane.note}) {
        label->setGeometry(0, top, title_width, label->sizeHint().height());
        top += label->sizeHint().height() + 2;
      }
      slot.pane.map->setGeometry(0, words, side_ + slot.around.width(), side_ + slot.around.height());
      x += column_width + gap;
    }
    y += row_height + gap;
  }
}

void CompareGrid::resizeEvent(QResizeEvent* event) {
  QWidget::resizeEvent(event);
  place();
}

void CompareGrid::changeEvent(QEvent* event) {
  QWidget::changeEvent(event);
  if (event->type() != QEvent::FontChange) return;
  for (Slot& slot : slots_) slot.around = {60, 40};
  QMetaObject::invokeMethod(this, &CompareGrid::place, Qt::QueuedConnection);
}

}  // namespace headroom::views
