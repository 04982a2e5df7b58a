// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/page_fonts.h"

#include <algorithm>

namespace headroom::gui {

PageFonts::PageFonts(QObject* parent) : QObject(parent) {
  turn_.setInterval(0);
  connect(&turn_, &QTimer::timeout, this, &PageFonts::next);
}

void PageFonts::set(const QFont& font, QWidget* first, QList<QWidget*> others) {
  font_ = font;
  font_.setPointSizeF(font.pointSizeF());  // said, so that it is this widget's own and not the application's
  waiting_.clear();
  std::stable_partition(others.begin(), others.end(), [](const QWidget* widget) { return widget->isVisible(); });
  if (first) first->setFont(font_);
  for (QWidget* widget : others) {
    if (widget->window()->isVisible())
      waiting_.append(widget);
    else
      widget->setFont(font_);
  }
  if (waiting())
    turn_.start();
  else
    turn_.stop();
}

void PageFonts::catch_up(QWidget* widget) {
  if (waiting_.removeAll(QPointer<QWidget>(widget)) > 0) widget->setFont(font_);
}

void PageFonts::next() {
  while (waiting()) {
    QWidget* widget = waiting_.takeFirst();
    if (!widget) continue;
    widget->setFont(font_);
    break;
  }
  if (!waiting()) turn_.stop();
}

}  // namespace headroom::gui
