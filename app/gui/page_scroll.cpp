// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/page_scroll.h"

#include <QApplication>
#include <QEvent>
#include <QLayout>
#include <QScreen>
#include <QScrollBar>
#include <QStackedLayout>
#include <QStyle>
#include <algorithm>

namespace headroom::gui {

int least_height(const QWidget* widget, int width) {
  const int asked = std::max(widget->minimumSizeHint().height(), widget->minimumHeight());
  const QLayout* layout = widget->layout();
  if (!layout) return asked;
  if (const auto* stack = qobject_cast<const QStackedLayout*>(layout)) {
    const QWidget* shown = stack->currentWidget();
    return shown ? std::max(widget->minimumHeight(), least_height(shown, width)) : asked;
  }
  return layout->hasHeightForWidth() ? std::max(widget->minimumHeight(), layout->minimumHeightForWidth(width)) : asked;
}

QSize dialog_size(const QWidget* parent, QSize wanted) {
  const QScreen* screen = parent ? parent->screen() : QGuiApplication::primaryScreen();
  const QSize room = parent ? parent->window()->size() : screen ? screen->availableSize() : wanted;
  return wanted.boundedTo(room - QSize(24, 40));
}

PageScroll::PageScroll(QWidget* parent) : QScrollArea(parent) {
  setFrameShape(QFrame::NoFrame);
  setFocusPolicy(Qt::NoFocus);
  viewport()->setAutoFillBackground(false);
}

void PageScroll::set_page(QWidget* page) {
  setWidget(page);
  page->setAutoFillBackground(false);  // else a scroll area paints what it scrolls
  page->installEventFilter(this);
  fit();
}

QSize PageScroll::sizeHint() const {
  return widget() ? widget()->sizeHint() : QScrollArea::sizeHint();
}

void PageScroll::fit() {
  QWidget* page = widget();
  if (!page || fitting_) return;
  fitting_ = true;
  const QSize room = maximumViewportSize();
  const int bar = style()->pixelMetric(QStyle::PM_ScrollBarExtent, nullptr, this);
  int width = std::max(room.width(), page->minimumSizeHint().width());
  int height = std::max(room.height() - (width > room.width() ? bar : 0), least_height(page, width));
  if (height > room.height()) {  // a bar on the right takes its room, which may wrap a row more
    width = std::max(room.width() - bar, page->minimumSizeHint().width());
    height = std::max(room.height(), least_height(page, width));
  }
  page->resize(width, height);
  fitting_ = false;
}

void PageScroll::resizeEvent(QResizeEvent* event) {
  fit();
  QScrollArea::resizeEvent(event);
}

bool PageScroll::eventFilter(QObject* watched, QEvent* event) {
  if (watched == widget() && (event->type() == QEvent::LayoutRequest || event->type() == QEvent::FontChange)) fit();
  return QScrollArea::eventFilter(watched, event);
}

bool PageScroll::focusNextPrevChild(bool next) {
  const bool moved = QScrollArea::focusNextPrevChild(next);
  if (QWidget* focus = QApplication::focusWidget(); moved && widget() && widget()->isAncestorOf(focus))
    ensureWidgetVisible(focus);
  return moved;
}

}  // namespace headroom::gui
