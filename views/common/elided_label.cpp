// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/elided_label.h"

#include <QEvent>
#include <QHelpEvent>
#include <QPainter>
#include <QToolTip>

namespace headroom::views {

QSize ElidedLabel::sizeHint() const {
  const QMargins around = contentsMargins();
  return {fontMetrics().horizontalAdvance(text()) + around.left() + around.right() + 2 * margin(),
          fontMetrics().height() + around.top() + around.bottom() + 2 * margin()};
}

QSize ElidedLabel::minimumSizeHint() const {
  return {fontMetrics().horizontalAdvance(QStringLiteral("mm…")), sizeHint().height()};
}

void ElidedLabel::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  painter.setFont(font());
  painter.setPen(palette().color(QPalette::WindowText));
  const QRect place = contentsRect();
  painter.drawText(place, static_cast<int>(alignment()) | Qt::TextSingleLine,
                   fontMetrics().elidedText(text(), Qt::ElideRight, place.width()));
}

bool ElidedLabel::event(QEvent* event) {
  if (event->type() == QEvent::ToolTip && toolTip().isEmpty()) {
    const bool cut = fontMetrics().horizontalAdvance(text()) > contentsRect().width();
    const auto* help = static_cast<QHelpEvent*>(event);
    cut ? QToolTip::showText(help->globalPos(), text().toHtmlEscaped(), this) : QToolTip::hideText();
    return true;
  }
  return QLabel::event(event);
}

}  // namespace headroom::views
