// SPDX-License-Identifier: GPL-3.0-or-later
// What the frame needs of a page to write it as PNG, PDF, SVG or CSV.
#pragma once

#include <QRectF>
#include <QString>

class QPainter;

namespace headroom::views {

struct ExportOptions {
  /// Device pixels per painter unit that images inside the figure (maps) are rendered at, e.g. 3 for a 3x PNG.
  double image_scale = 1;
  /// Prefix of ids or titles; empty for a plain figure. Printed as the caption's last line where set.
  QString provenance;
};

class Exportable {
 public:
  virtual ~Exportable() = default;
  /// Draws the current view into `target` with the painter's own units and the current Theme. Text is drawn as text,
  /// so that it stays text in PDF and SVG. Leaves the painter's state as it was.
  virtual void render(QPainter& painter, const QRectF& target, const ExportOptions& options) = 0;
  /// The numbers of the visible region with a header line, RFC 4180; empty where there is nothing.
  virtual QString csv() const = 0;
  /// For file names and captions.
  virtual QString title() const = 0;
};

}  // namespace headroom::views
