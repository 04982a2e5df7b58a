// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/window_style.h"

#include <QPainter>
#include <QStyleFactory>
#include <QStyleOption>

#include "views/common/theme.h"

namespace headroom::gui {
namespace {

QColor edge(const QStyleOption& option) {
  const views::Theme& theme = views::Theme::instance();
  if (option.state & QStyle::State_HasFocus) return theme.accent();
  QColor colour = theme.muted_text();
  if (!(option.state & QStyle::State_Enabled)) colour.setAlphaF(0.4f);
  return colour;
}

}  // namespace

WindowStyle::WindowStyle() : QProxyStyle(QStyleFactory::create("Fusion")) {
  setObjectName("fusion");  // what the theme looks for
}

void WindowStyle::drawPrimitive(PrimitiveElement element, const QStyleOption* option, QPainter* painter,
                                const QWidget* widget) const {
  const views::Theme& theme = views::Theme::instance();
  const bool tick = element == PE_IndicatorCheckBox || element == PE_IndicatorItemViewItemCheck;
  if (!tick && element != PE_IndicatorRadioButton && element != PE_FrameLineEdit) {
    return QProxyStyle::drawPrimitive(element, option, painter, widget);
  }
  painter->save();
  painter->setRenderHint(QPainter::Antialiasing);
  const bool on = option->state & State_On;
  const QRectF box = QRectF(option->rect).adjusted(0.5, 0.5, -0.5, -0.5);
  painter->setPen(QPen(edge(*option), 1));
  if (element == PE_FrameLineEdit) {
    QColor line = edge(*option);
    if (!(option->state & State_HasFocus)) line.setAlphaF(line.alphaF() * 0.6f);
    painter->setPen(QPen(line, 1));
    painter->setBrush(Qt::NoBrush);
    painter->drawRoundedRect(box, 2, 2);
  } else {
    const qreal side = std::min(box.width(), box.height());
    const QRectF square(box.center().x() - side / 2, box.center().y() - side / 2, side, side);
    const bool enabled = option->state & State_Enabled;
    painter->setBrush(option->state & State_Sunken ? theme.panel() : theme.background());
    const QColor mark = enabled ? theme.accent() : theme.muted_text();
    if (tick) {
      painter->drawRoundedRect(square, 2, 2);
      if (on || option->state & State_NoChange) {
        painter->setPen(QPen(mark, side / 6.5, Qt::SolidLine, Qt::RoundCap, Qt::RoundJoin));
        const auto at = [&](qreal x, qreal y) { return QPointF(square.x() + x * side, square.y() + y * side); };
        if (on)
          painter->drawPolyline(QPolygonF({at(.22, .52), at(.43, .73), at(.79, .28)}));
        else
          painter->drawLine(at(.25, .5), at(.75, .5));
      }
    } else {
      painter->drawEllipse(square);
      if (on) {
        painter->setPen(Qt::NoPen);
        painter->setBrush(mark);
        painter->drawEllipse(square.center(), side * .26, side * .26);
      }
    }
  }
  painter->restore();
}

}  // namespace headroom::gui
