// SPDX-License-Identifier: GPL-3.0-or-later
// Fusion with outlines that can be seen on dark backgrounds: boxes to tick and fields to fill keep an edge of 3:1.
#pragma once

#include <QProxyStyle>

namespace headroom::gui {

class WindowStyle : public QProxyStyle {
  Q_OBJECT
 public:
  WindowStyle();
  void drawPrimitive(PrimitiveElement element, const QStyleOption* option, QPainter* painter,
                     const QWidget* widget) const override;
};

}  // namespace headroom::gui
