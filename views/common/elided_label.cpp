// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/elided_label.h"

#include <QEvent>
#include <QHelpEvent>
#include <QPainter>
#include <QToolTip>

namespace headroom::views {

QSize ElidedLabel::minimumSizeHint() const {
  return {fontMetrics().horizontalAdvance(QStringLiteral("mm…")), QLabel::minimumSizeHint().height()};
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
