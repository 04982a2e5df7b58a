// SPDX-License-Identifier: GPL-3.0-or-later
// Drawing of the marginal strip.
#include "views/map/map_marginal.h"

#include <cmath>

#include "views/map/map_colours.h"
#include "views/common/theme.h"

namespace headroom::views {
namespace {

constexpr double smallest_mass = 1e-6;

float largest(const std::vector<float>& values, double begin, double end) {
  const auto size = static_cast<std::int64_t>(values.size());
  const std::int64_t first = std::max<std::int64_t>(0, static_cast<std::int64_t>(std::floor(begin)));
  const std::int64_t last = std::min(size, std::max(first + 1, static_cast<std::int64_t>(std::ceil(end))));
  float result = -1;
  for (std::int64_t i = first; i < last; ++i) result = std::max(result, values[static_cast<std::size_t>(i)]);
  return result;
}

}  // namespace

MapMarginal::MapMarginal(QCPAxis* key_axis, QCPAxis* value_axis) : QCPAbstractPlottable(key_axis, value_axis) {
  setSelectable(QCP::stNone);
}

QRect MapMarginal::clipRect() const {
  const int line = QFontMetrics(label_font(mParentPlot->font())).height() + 2;
  return mKeyAxis->axisRect()->rect().adjusted(0, -line, 0, 0);
}

void MapMarginal::draw(QCPPainter* painter) {
  if (!data_) return;
  const QRectF area = mKeyAxis->axisRect()->rect();
  draw_marginal(*painter, area, *data_, mKeyAxis->range().lower, mKeyAxis->range().upper,
                mParentPlot->bufferDevicePixelRatio());
  if (data_->mass_received.empty() && data_->selection_frequency.empty()) return;
  const Theme& theme = Theme::instance();
  const QFont small = label_font(mParentPlot->font());
  painter->setFont(small);
  QRectF label(area.left(), area.top() - QFontMetricsF(small).height() - 1, area.width(),
               QFontMetricsF(small).height());
  const auto write = [&](const QString& words, const QColor& colour) {
    const double width = QFontMetricsF(small).horizontalAdvance(words) + 10;
    QRectF box(label.right() - width, label.top(), width, QFontMetricsF(small).height());
    painter->setPen(colour);
    painter->drawText(box, Qt::AlignCenter, words);
    label.setRight(box.left());
  };
  // In fewer words where these would not have room beside each other.
  QString frequency = data_->selection_frequency.empty() ? QString() : tr("— share of queries that select it");
  QString mass = data_->mass_received.empty() ? QString() : tr("■ mass received (log)");
  const QFontMetricsF metrics(small);
  const auto room = [&] { return metrics.horizontalAdvance(frequency) + metrics.horizontalAdvance(mass) + 20; };
  if (room() > area.width() && !frequency.isEmpty()) frequency = tr("— selected by");
  if (room() > area.width() && !mass.isEmpty()) mass = tr("■ mass (log)");
  if (room() > area.width()) frequency.clear();
  if (!frequency.isEmpty()) write(frequency, theme.text());
  if (!mass.isEmpty()) write(mass, theme.mass());
}

QFont MapMarginal::label_font(QFont font) {
  font.setPointSizeF(std::max(7.0, font.pointSizeF() * 0.85));
  return font;
}

void draw_marginal(QPainter& painter, const QRectF& area, const MapData& data, double key_begin, double key_end,
                   double pixel_ratio) {
  const Theme& theme = Theme::instance();
  const int pixels = std::max(1, static_cast<int>(std::lround(area.width() * pixel_ratio)));
  const double step = (key_end - key_begin) / pixels, width = area.width() / pixels;
  painter.save();
  painter.setRenderHint(QPainter::Antialiasing, false);
  painter.setClipRect(area);
  if (!data.mass_received.empty()) {
    QColor bar = theme.mass();
    bar.setAlphaF(0.55f);
    // One outline: hundreds of bars as parts of a path cost more than all the rest of a frame.
    QPolygonF bars;
    bars << area.bottomLeft();
    for (int x = 0; x < pixels; ++x) {
      const float value = largest(data.mass_received, key_begin + x * step, key_begin + (x + 1) * step);
      const double y = area.bottom() - std::max(0.0, scale_position(value, smallest_mass, 1) * area.height());
      bars << QPointF(area.left() + x * width, y) << QPointF(area.left() + (x + 1) * width, y);
    }
    bars << area.bottomRight();
    painter.setPen(Qt::NoPen);
    painter.setBrush(bar);
    painter.drawPolygon(bars);
    painter.setBrush(Qt::NoBrush);
  }
  if (!data.selection_frequency.empty()) {
    QPolygonF line;
    for (int x = 0; x < pixels; ++x) {
      const float value = largest(data.selection_frequency, key_begin + x * step, key_begin + (x + 1) * step);
      if (value < 0) continue;
      const double y = area.bottom() - 1 - std::min(1.0f, value) * (area.height() - 2);
      line << QPointF(area.left() + x * width, y) << QPointF(area.left() + (x + 1) * width, y);
    }
    painter.setPen(QPen(theme.text(), 0));
    painter.drawPolyline(line);
  }
  painter.restore();
}

}  // namespace headroom::views
