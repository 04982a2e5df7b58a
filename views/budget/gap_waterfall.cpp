// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/budget/gap_waterfall.h"

#include <QPainter>
#include <algorithm>
#include <cmath>

#include "views/common/format.h"
#include "views/common/theme.h"

namespace headroom::views {

GapWaterfall::GapWaterfall(QWidget* parent) : QWidget(parent) {
  setObjectName("waterfall");
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Preferred);
}

void GapWaterfall::show_bars(std::vector<WaterfallBar> bars, std::optional<double> dense,
                             std::optional<double> executed, const QString& why) {
  bars_ = std::move(bars);
  dense_ = dense;
  executed_ = executed;
  why_ = why;
  QStringList words;
  for (const WaterfallBar& bar : bars_) words << QObject::tr("%1, %2: %3 points").arg(bar.name, bar.pair, bar.value);
  setAccessibleName(words.isEmpty() ? why_ : words.join("; "));
  updateGeometry();
  update();
}

QSize GapWaterfall::sizeHint() const {
  const int line = QFontMetrics(font()).height();
  const auto rows = static_cast<int>(bars_.size());
  return {22 * line, bars_.empty() ? 3 * line : (rows + 2) * (2 * line + 10)};
}

QSize GapWaterfall::minimumSizeHint() const {
  return {160, sizeHint().height()};
}

void GapWaterfall::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.setFont(font());
  draw(painter, rect(), 1);
}

void GapWaterfall::draw(QPainter& painter, const QRectF& target, double unit) const {
  const Theme& theme = Theme::instance();
  const QFontMetricsF metrics(painter.font());
  const double line = metrics.height();
  if (bars_.empty()) {
    painter.setPen(theme.muted_text());
    painter.drawText(target, Qt::AlignLeft | Qt::AlignTop | Qt::TextWordWrap, why_);
    return;
  }
  // The axis runs to the right as points are lost: 0 is dense.
  double least = 0, most = 0, at = 0;
  for (const WaterfallBar& bar : bars_) {
    least = std::min({least, at, at + bar.points, at + bar.low.value_or(bar.points)});
    most = std::max({most, at, at + bar.points, at + bar.high.value_or(bar.points)});
    at += bar.points;
  }
  if (most - least < 1) {
    const double middle = (most + least) / 2;
    least = middle - 0.5;
    most = middle + 0.5;
  }
  const double space = 0.04 * (most - least);
  const auto x = [&](double points) {
    return target.left() + 2 * unit +
           (target.width() - 4 * unit) * (points - least + space) / (most - least + 2 * space);
  };
  const double row = 2 * line + 10 * unit, thick = std::max(6 * unit, 0.62 * line);
  double top = target.top();
  // Two lines of words above each bar would take twice the room: name left, number right, the bar below.
  const auto words = [&](const QString& left, const QString& pair, const QString& right) {
    const QRectF box(target.left(), top, target.width(), line);
    const double room = metrics.horizontalAdvance(right) + 8 * unit;
    painter.setPen(theme.text());
    painter.drawText(box, Qt::AlignRight | Qt::AlignVCenter, right);
    QFont bold = painter.font();
    const QFont plain = bold;
    bold.setBold(true);
    painter.setFont(bold);
    painter.drawText(box, Qt::AlignLeft | Qt::AlignVCenter, left);
    const double used = QFontMetricsF(bold).horizontalAdvance(left) + 8 * unit;
    painter.setFont(plain);
    painter.setPen(theme.muted_text());
    const QRectF middle(box.left() + used, top, std::max(0.0, box.width() - used - room), line);
    painter.drawText(middle, Qt::AlignLeft | Qt::AlignVCenter,
                     metrics.elidedText(pair, Qt::ElideRight, middle.width()));
  };
  const auto level = [&](const QString& name, const std::optional<double>& score, double points) {
    words(name, {}, score ? QObject::tr("score %1").arg(format_fixed(*score, 1)) : QString());
    painter.fillRect(QRectF(x(points) - 1.5 * unit, top + line + 2 * unit, 3 * unit, thick), theme.text());
    top += row;
  };
  level(QObject::tr("Dense"), dense_, 0);
  at = 0;
  for (const WaterfallBar& bar : bars_) {
    words(bar.name, bar.pair, bar.value);
    const double y = top + line + 2 * unit, from = x(at), to = x(at + bar.points);
    painter.setPen(QPen(theme.border(), unit, Qt::DotLine));
    painter.drawLine(QPointF(from, y - line - row + thick + 2 * unit), QPointF(from, y));
    QColor fill = theme.method(bar.look);
    painter.fillRect(QRectF(std::min(from, to), y, std::max(1.5 * unit, std::abs(to - from)), thick), fill);
    if (bar.low && bar.high) {
      const double middle = y + thick / 2, a = x(at + *bar.low), b = x(at + *bar.high), half = thick * 0.35;
      painter.setPen(QPen(theme.text(), 1.6 * unit));
      painter.drawLine(QPointF(a, middle), QPointF(b, middle));
      for (const double end : {a, b}) painter.drawLine(QPointF(end, middle - half), QPointF(end, middle + half));
    }
    at += bar.points;
    top += row;
  }
  level(QObject::tr("As executed"), executed_, at);
}

}  // namespace headroom::views
