// SPDX-License-Identifier: GPL-3.0-or-later
// Drawing and dragging of the colour scale.
#include "views/common/colour_bar.h"

#include <QMouseEvent>
#include <QPainter>
#include <algorithm>
#include <cmath>

#include "views/common/theme.h"

namespace headroom::views {
namespace {

QString decade_label(int exponent) {
  if (exponent == 0) return QStringLiteral("1");
  if (exponent > 0 && exponent <= 4) return QString::number(std::lround(std::pow(10, exponent)));
  if (exponent == -1) return QStringLiteral("0.1");
  if (exponent == -2) return QStringLiteral("0.01");
  return QStringLiteral("1e%1").arg(exponent);
}

}  // namespace

ColourBar::ColourBar(QWidget* parent) : QWidget(parent) {
  setAccessibleName(tr("Colour scale"));
  setToolTip(tr("Drag the ends to change the colour range, double-click to reset it"));
  setMouseTracking(true);
  connect(&Theme::instance(), &Theme::changed, this, QOverload<>::of(&QWidget::update));
}

void ColourBar::set_range(double minimum, double maximum) {
  minimum_ = minimum;
  maximum_ = maximum;
  setAccessibleDescription(tr("from %1 to %2, logarithmic").arg(minimum).arg(maximum));
  update();
}

void ColourBar::set_symmetric(bool symmetric) {
  symmetric_ = symmetric;
  update();
}

void ColourBar::set_caption(const QString& caption) {
  caption_ = caption;
  update();
}

void ColourBar::set_ranks(bool ranks) {
  ranks_ = ranks;
  update();
}

QSize ColourBar::sizeHint() const {
  return {22 + fontMetrics().horizontalAdvance(QStringLiteral("−1e-6 ")) + 22, 160};
}

QRectF ColourBar::bar() const {
  const double line = fontMetrics().height();
  return {6, line + 4, 14, std::max(20.0, height() - 2 * line - 8)};
}

void ColourBar::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  const QRectF area = bar();
  draw_colour_bar(painter, area, minimum_, maximum_, symmetric_, ranks_);
  painter.setPen(Theme::instance().muted_text());
  painter.save();
  painter.translate(width() - 4, area.center().y());
  painter.rotate(-90);
  painter.drawText(QRectF(-area.height() / 2, -fontMetrics().height(), area.height(), fontMetrics().height()),
                   Qt::AlignCenter, caption_);
  painter.restore();
  if (!symmetric_) {
    painter.setPen(QPen(Theme::instance().text(), 2));
    for (const double y : {area.top(), area.bottom()})
      painter.drawLine(QPointF(area.left() - 3, y), QPointF(area.right() + 3, y));
  }
}

void draw_colour_bar(QPainter& painter, const QRectF& bar, double minimum, double maximum, bool symmetric,
                     bool ranks) {
  const Theme& theme = Theme::instance();
  painter.save();
  const auto& stops = symmetric ? blue_red() : cividis();
  QLinearGradient gradient(bar.bottomLeft(), bar.topLeft());
  for (int i = 0; i <= 32; ++i) gradient.setColorAt(i / 32.0, QColor(stops[i * 255 / 32]));
  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.fillRect(bar, gradient);
  painter.setPen(theme.border());
  painter.setBrush(Qt::NoBrush);
  painter.drawRect(bar);
  const double low = std::log10(minimum), high = std::log10(maximum), span = std::max(1e-9, high - low);
  const double line = QFontMetricsF(painter.font()).height();
  const double half = symmetric ? bar.height() / 2 : bar.height();
  const int step = std::max(1, static_cast<int>(std::ceil(line * 1.3 * span / half)));
  const auto label = [&](double y, const QString& text) {
    painter.setPen(theme.text());
    painter.drawLine(QPointF(bar.right(), y), QPointF(bar.right() + 3, y));
    painter.drawText(QRectF(bar.right() + 5, y - line / 2, 60, line), Qt::AlignLeft | Qt::AlignVCenter, text);
  };
  if (symmetric) label(bar.center().y(), QStringLiteral("0"));
  for (int exponent = static_cast<int>(std::floor(high + 1e-9)); exponent >= low - 1e-9; exponent -= step) {
    const double part = (exponent - low) / span;
    if (!symmetric) {
      label(bar.bottom() - part * bar.height(), decade_label(ranks ? -exponent : exponent));
    } else if (part > 0.25) {
      label(bar.center().y() - part * half, QStringLiteral("+") + decade_label(exponent));
      label(bar.center().y() + part * half, QStringLiteral("−") + decade_label(exponent));
    }
  }
  painter.restore();
}

void ColourBar::mousePressEvent(QMouseEvent* event) {
  if (symmetric_ || event->button() != Qt::LeftButton) return;
  const QRectF area = bar();
  dragged_ = event->position().y() > area.center().y() ? 1 : 2;
  start_y_ = event->position().y();
  start_low_ = std::log10(minimum_);
  start_high_ = std::log10(maximum_);
}

void ColourBar::mouseMoveEvent(QMouseEvent* event) {
  const QRectF area = bar();
  const double y = event->position().y();
  if (!dragged_) {
    const bool near_end = !symmetric_ && std::min(std::abs(y - area.top()), std::abs(y - area.bottom())) < 8;
    setCursor(near_end ? Qt::SizeVerCursor : Qt::ArrowCursor);
    return;
  }
  // Against the range at the start of the drag, since the scale changes under the pointer.
  const double moved = (start_y_ - y) / area.height() * (start_high_ - start_low_);
  if (dragged_ == 1)
    emit range_dragged(std::pow(10, std::clamp(start_low_ + moved, -12.0, start_high_ - 0.5)), maximum_);
  else
    emit range_dragged(minimum_, std::pow(10, std::clamp(start_high_ + moved, start_low_ + 0.5, 4.0)));
}

void ColourBar::mouseReleaseEvent(QMouseEvent*) {
  if (dragged_) emit drag_finished();
  dragged_ = 0;
}

void ColourBar::mouseDoubleClickEvent(QMouseEvent*) {
  dragged_ = 0;
  emit reset_asked();
}

}  // namespace headroom::views
