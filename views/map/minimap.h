// SPDX-License-Identifier: GPL-3.0-or-later
// The whole map in a corner with the visible part framed; dragging moves the view. Shown only where the view is a part.
#pragma once

#include <QImage>
#include <QWidget>

#include "views/common/selection.h"

namespace headroom::views {

class Minimap : public QWidget {
  Q_OBJECT
 public:
  Minimap(Selection* selection, QWidget* parent);
  void set_image(const QImage& image, std::int64_t length);

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;

 private:
  void centre_on(QPointF position);
  Selection* selection_;
  QImage image_;
  std::int64_t length_ = 0;
};

}  // namespace headroom::views
