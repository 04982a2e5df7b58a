// SPDX-License-Identifier: GPL-3.0-or-later
// What the frame needs of a page to write it as PNG, PDF, SVG or CSV.
#pragma once

#include <QRectF>
#include <QString>
#include <functional>
#include <stop_token>

class QPainter;

namespace headroom::views {

struct ExportOptions {
  /// Device pixels per painter unit that images inside the figure (maps) are rendered at, e.g. 3 for a 3x PNG.
  double image_scale = 1;
  /// Prefix of ids or titles; empty for a plain figure. Printed as the caption's last line where set.
  QString provenance;
  /// Height of the text of a map in painter units; 0: what suits the target. A page that holds maps gives them its own.
  double text_size = 0;
  bool square = false;  ///< a map is as high as it is wide, whatever the room it has
  /// No text is smaller than this, in painter units; what does not fit beside each other stands below. 0: the figure is
  /// laid out as on a screen 1200 units wide, however small that makes the text.
  double least_text = 0;
};

class Exportable {
 public:
  virtual ~Exportable() = default;
  /// Draws the current view into `target` with the painter's own units and the current Theme. Text is drawn as text,
  /// so that it stays text in PDF and SVG. Leaves the painter's state as it was.
  virtual void render(QPainter& painter, const QRectF& target, const ExportOptions& options) = 0;
  /// Height that a figure of this width and ExportOptions::least_text wants so that everything in it can be read; 0:
  /// any will do.
  virtual double wanted_height(double /*width*/, double /*least_text*/) { return 0; }
  /// Nothing that was asked for is still on its way.
  virtual bool ready() const { return true; }
  /// The last render() drew all that it should show. What it lacked has been asked for: render again once ready().
  virtual bool complete() const { return true; }
  /// Why a picture would not hold what it says it shows (damaged, not kept); empty where it will.
  virtual QString problem() const { return {}; }
  /// What was gathered for render() may go.
  virtual void exported() {}
  /// The numbers of the visible region with a header line, RFC 4180; empty where there is nothing.
  virtual QString csv() const = 0;
  /// csv() as work for another thread, which holds all that it needs; a stop request ends it with nothing. Null where
  /// csv() itself takes no time.
  virtual std::function<QString(std::stop_token)> csv_work() const { return {}; }
  /// For file names and captions.
  virtual QString title() const = 0;
  /// What the figure is of where that is not the shown run: a sweep, several runs. Empty: the shown run.
  virtual QString source_text() const { return {}; }
  /// What the colours of its map stand for, "lift over uniform, 0.1 to 1000"; empty where it has no map.
  virtual QString scale_text() const { return {}; }
  /// What a cell of its map stands for in the last render(), "max of 32×32 pairs per cell"; empty where it has no map.
  virtual QString aggregation_text() const { return {}; }
};

}  // namespace headroom::views
