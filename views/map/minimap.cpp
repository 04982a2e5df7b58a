// SPDX-License-Identifier: GPL-3.0-or-later
// Drawing and dragging of the minimap.
#include "views/map/minimap.h"

#include <QMouseEvent>
#include <QPainter>
#include <algorithm>

#include "views/common/theme.h"

namespace headroom::views {

Minimap::Minimap(Selection* selection, QWidget* parent) : QWidget(parent), selection_(selection) {
  setFixedSize(128, 128);
  setCursor(Qt::SizeAllCursor);
  setAccessibleName(tr("Minimap of the whole context"));
  setToolTip(tr("The whole context. Drag to move the view, F shows all of it."));
}

void Minimap::set_image(const QImage& image, std::int64_t length) {
  image_ = image;
  length_ = length;
  update();
}

void Minimap::paintEvent(QPaintEvent*) {
  QPainter painter(this);
  const Theme& theme = Theme::instance();
  const QRectF area = QRectF(rect()).adjusted(1, 1, -1, -1);
  painter.fillRect(rect(), theme.background());
  if (!image_.isNull()) painter.drawImage(area, image_);
  painter.setPen(theme.border());
  painter.drawRect(QRectF(rect()).adjusted(0.5, 0.5, -0.5, -0.5));
  if (length_ <= 0) return;
  const Viewport& view = selection_->state().viewport;
  const double scale = area.width() / static_cast<double>(length_);
  QRectF frame(area.left() + view.key_begin * scale, area.top() + view.query_begin * scale,
               std::max(4.0, (view.key_end - view.key_begin) * scale),
               std::max(4.0, (view.query_end - view.query_begin) * scale));
  painter.setPen(QPen(theme.map_casing(), 3));
  painter.drawRect(frame);
  painter.setPen(QPen(theme.map_outline(), 1));
  painter.drawRect(frame);
}

void Minimap::centre_on(QPointF position) {
  if (length_ <= 0) return;
  const double length = static_cast<double>(length_), scale = length / (width() - 2);
  selection_->change(
      [&](ViewState& state) {
        Viewport& view = state.viewport;
        const double keys = view.key_end - view.key_begin, queries = view.query_end - view.query_begin;
        view.key_begin = std::clamp((position.x() - 1) * scale - keys / 2, 0.0, std::max(0.0, length - keys));
        view.query_begin = std::clamp((position.y() - 1) * scale - queries / 2, 0.0, std::max(0.0, length - queries));
        view.key_end = view.key_begin + keys;
        view.query_end = view.query_begin + queries;
      },
      QStringLiteral("minimap"));
}

void Minimap::mousePressEvent(QMouseEvent* event) {
  if (event->button() == Qt::LeftButton) centre_on(event->position());
}

void Minimap::mouseMoveEvent(QMouseEvent* event) {
  if (event->buttons() & Qt::LeftButton) centre_on(event->position());
}

void Minimap::mouseReleaseEvent(QMouseEvent*) {
  selection_->end_merge();
}

}  // namespace headroom::views
