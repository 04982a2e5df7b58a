// SPDX-License-Identifier: GPL-3.0-or-later
// Wrapping of control rows.
#include "views/common/flow_layout.h"

#include <QWidget>
#include <algorithm>

namespace headroom::views {

FlowLayout::FlowLayout(QWidget* parent, int horizontal_gap, int vertical_gap)
    : QLayout(parent), horizontal_gap_(horizontal_gap), vertical_gap_(vertical_gap) {}

FlowLayout::~FlowLayout() {
  while (!items_.isEmpty()) delete items_.takeFirst();
}

void FlowLayout::addItem(QLayoutItem* item) {
  items_.append(item);
}

QLayoutItem* FlowLayout::itemAt(int index) const {
  return items_.value(index);
}

QLayoutItem* FlowLayout::takeAt(int index) {
  return index >= 0 && index < items_.size() ? items_.takeAt(index) : nullptr;
}

int FlowLayout::heightForWidth(int width) const {
  return arrange(QRect(0, 0, width, 0), false);
}

void FlowLayout::setGeometry(const QRect& rect) {
  QLayout::setGeometry(rect);
  arrange(rect, true);
}

QSize FlowLayout::sizeHint() const {
  QSize size;
  for (const auto* item : items_) {
    if (item->isEmpty()) continue;
    size.rwidth() += item->sizeHint().width() + horizontal_gap_;
    size.setHeight(std::max(size.height(), item->sizeHint().height()));
  }
  const QMargins margins = contentsMargins();
  return size + QSize(margins.left() + margins.right(), margins.top() + margins.bottom());
}

QSize FlowLayout::minimumSize() const {
  QSize size;
  for (const auto* item : items_) size = size.expandedTo(item->minimumSize());
  const QMargins margins = contentsMargins();
  return size + QSize(margins.left() + margins.right(), margins.top() + margins.bottom());
}

int FlowLayout::arrange(const QRect& rect, bool place, bool whole) const {
  const QMargins margins = contentsMargins();
  const QRect area = rect.marginsRemoved(margins);
  int x = area.left(), y = area.top(), line_height = 0;
  QList<std::pair<QLayoutItem*, QRect>> line;
  const auto finish_line = [&] {
    for (const auto& [item, box] : line)  // centred on the line's height
      if (place) item->setGeometry(QRect(box.left(), y + (line_height - box.height()) / 2, box.width(), box.height()));
    line.clear();
  };
  for (auto* item : items_) {
    if (item->isEmpty() && !(whole && item->widget())) continue;
    const QSize size = item->isEmpty() ? item->widget()->sizeHint() : item->sizeHint();
    if (size.height() == 0) {  // folded away
      if (place) item->setGeometry(QRect(x, y, 0, 0));
      continue;
    }
    if (x > area.left() && x + size.width() > area.right() + 1) {
      finish_line();
      x = area.left();
      y += line_height + vertical_gap_;
      line_height = 0;
    }
    line.append({item, QRect(QPoint(x, y), QSize(std::min(size.width(), std::max(1, area.width())), size.height()))});
    x += size.width() + horizontal_gap_;
    line_height = std::max(line_height, size.height());
  }
  finish_line();
  return y + line_height - rect.top() + margins.bottom();
}

}  // namespace headroom::views
