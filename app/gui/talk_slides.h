// SPDX-License-Identifier: GPL-3.0-or-later
// One step as a slide: title and caption, the page below.
#pragma once

#include <QImage>

#include "gui/figure_studio.h"
#include "gui/talk_export.h"

class QPainter;

namespace headroom::gui {

class TalkSlide {
 public:
  /// Throws input errors of a step that does not fit its record or whose picture would not hold what it says.
  /// `scale`: device pixels a painter unit of the maps in it. Runs the event loop until all is there.
  TalkSlide(const TalkExport& job, int step, double scale);
  ~TalkSlide();
  /// The whole slide into (0, 0, slide_width, slide_height).
  void paint(QPainter& painter);
  /// The page alone, without words around it.
  QImage picture(double scale);
  QByteArray svg();
  const views::ViewState& state() const { return studio_.selection().state(); }
  const views::TalkStep& step() const { return step_; }
  QString provenance_line() const;

 private:
  void settle(const QSizeF& size, double scale);
  const TalkExport& job_;
  const views::TalkStep& step_;
  int number_, count_;
  double scale_;
  FigureStudio studio_;
  views::Exportable& view_;
};

}  // namespace headroom::gui
