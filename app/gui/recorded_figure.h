// SPDX-License-Identifier: GPL-3.0-or-later
// What a page paints, kept to be painted again on another thread: the page belongs to the window's thread, but turning
// lines, text and images into the bytes of a PNG, PDF or SVG takes tenths of a second.
#pragma once

#include <memory>

#include "gui/figure_device.h"

class QPainter;

namespace headroom::gui {

class RecordedFigure : public FigureDevice {
 public:
  /// `size` in painter units, at 96 dots an inch.
  explicit RecordedFigure(QSizeF size);
  ~RecordedFigure() override;
  QPaintEngine* paintEngine() const override;

  /// Paints it all on `painter`, whose device has 96 dots an inch too, within the transform that it has now. On any
  /// thread, once the painter of this device has ended.
  void play(QPainter& painter) const;

 private:
  class Engine;
  std::unique_ptr<Engine> engine_;
};

}  // namespace headroom::gui
