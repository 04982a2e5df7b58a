// SPDX-License-Identifier: GPL-3.0-or-later
// What the paint devices of figures have in common: a size in painter units at 96 dots an inch, which screens do not change.
#pragma once

#include <QPaintDevice>
#include <QSizeF>
#include <cmath>
#include <limits>

namespace headroom::gui {

class FigureDevice : public QPaintDevice {
 public:
  static constexpr double dots_an_inch = 96;

  explicit FigureDevice(QSizeF size) : size_(size) {}

 protected:
  int metric(PaintDeviceMetric metric) const override {
    switch (metric) {
      case PdmWidth:
        return static_cast<int>(std::ceil(size_.width()));
      case PdmHeight:
        return static_cast<int>(std::ceil(size_.height()));
      case PdmWidthMM:
        return static_cast<int>(std::lround(size_.width() / dots_an_inch * 25.4));
      case PdmHeightMM:
        return static_cast<int>(std::lround(size_.height() / dots_an_inch * 25.4));
      case PdmNumColors:
        return std::numeric_limits<int>::max();
      case PdmDepth:
        return 32;
      case PdmDpiX:
      case PdmDpiY:
      case PdmPhysicalDpiX:
      case PdmPhysicalDpiY:
        return static_cast<int>(dots_an_inch);
      case PdmDevicePixelRatio:
        return 1;
      case PdmDevicePixelRatioScaled:
        return static_cast<int>(devicePixelRatioFScale());
    }
    return QPaintDevice::metric(metric);
  }

 private:
  QSizeF size_;
};

}  // namespace headroom::gui
