// SPDX-License-Identifier: GPL-3.0-or-later
// Paints on a painter whose device knows no clipping (Qt's SVG): lines, areas and images are cut at the clip's
// rectangle before they get there, so that a curve ends where its axes end.
#pragma once

#include <memory>

#include "gui/figure_device.h"

class QPainter;

namespace headroom::gui {

class ClippedDevice : public FigureDevice {
 public:
  /// `target` must be active and outlive this. `size` in its units, at 96 dots an inch.
  ClippedDevice(QPainter& target, QSizeF size);
  ~ClippedDevice() override;
  QPaintEngine* paintEngine() const override;

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace headroom::gui
