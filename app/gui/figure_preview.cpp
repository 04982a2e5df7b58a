// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/figure_preview.h"

#include <QPainter>
#include <algorithm>

#include "views/common/theme.h"

namespace headroom::gui {

FigurePreview::FigurePreview(QWidget* parent) : QWidget(parent) {
  setAccessibleName(tr("Preview"));
  setSizePolicy(QSizePolicy::Expanding, QSizePolicy::Expanding);
}

void FigurePreview::show_figure(const QImage& image, const QString& size) {
  image_ = image;
  text_ = size;
  setAccessibleDescription(size);
  update();
}

void FigurePreview::show_text(const QString& text) {
  image_ = {};
  text_ = text;
  setAccessibleDescription(text);
  update();
}

QSize FigurePreview::sizeHint() const {
  return QSize(26, 20) * fontMetrics().height();
}

QSize FigurePreview::minimumSizeHint() const {
  return QSize(10, 8) * fontMetrics().height();
}

void FigurePreview::paintEvent(QPaintEvent*) {
  const views::Theme& theme = views::Theme::instance();
  QPainter painter(this);
  painter.setPen(theme.border());
  painter.setBrush(theme.panel());
  painter.drawRect(rect().adjusted(0, 0, -1, -1));
  const QRect room = rect().adjusted(8, 8, -8, -8);
  painter.setPen(theme.muted_text());
  if (image_.isNull()) {
    painter.drawText(room, Qt::AlignLeft | Qt::AlignTop | Qt::TextWordWrap, text_);
    return;
  }
  const int line = fontMetrics().height() + 4;
  const QRect place = room.adjusted(0, 0, 0, -line);
  const QSize size = image_.size().scaled(place.size(), Qt::KeepAspectRatio);
  const QRect spot(place.left() + (place.width() - size.width()) / 2,
                   place.top() + (place.height() - size.height()) / 2, size.width(), size.height());
  const double dots = devicePixelRatioF();
  QImage fitted = image_.scaled(size * dots, Qt::IgnoreAspectRatio, Qt::SmoothTransformation);
  fitted.setDevicePixelRatio(dots);
  painter.drawImage(spot.topLeft(), fitted);
  painter.setBrush(Qt::NoBrush);
  painter.setPen(theme.border());
  painter.drawRect(spot.adjusted(-1, -1, 0, 0));
  painter.setPen(theme.muted_text());
  painter.drawText(QRect(room.left(), room.bottom() - line + 1, room.width(), line), Qt::AlignCenter, text_);
}

}  // namespace headroom::gui
