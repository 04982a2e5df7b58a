// SPDX-License-Identifier: GPL-3.0-or-later
// The colour scale beside a map: labelled by decades, its two ends can be dragged.
#pragma once

#include <QWidget>

namespace headroom::views {

class ColourBar : public QWidget {
  Q_OBJECT
 public:
  explicit ColourBar(QWidget* parent = nullptr);
  void set_range(double minimum, double maximum);
  /// Difference maps show −max … −min 0 min … max.
  void set_symmetric(bool symmetric);
  void set_caption(const QString& caption);
  /// Values are 1 / rank and are labelled with the rank, the best at the top.
  void set_ranks(bool ranks);
  QSize sizeHint() const override;
  QSize minimumSizeHint() const override { return sizeHint(); }

 signals:
  void range_dragged(double minimum, double maximum);
  void drag_finished();
  void reset_asked();  ///< double click

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;

 private:
  QRectF bar() const;
  double minimum_ = 1e-6, maximum_ = 1;
  bool symmetric_ = false, ranks_ = false;
  QString caption_;
  int dragged_ = 0;                                      ///< 1 lower end, 2 upper end
  double start_y_ = 0, start_low_ = 0, start_high_ = 0;  ///< where the drag began; log10
};

/// Draws a scale into `area` (export): gradient on the left, decades on its right.
void draw_colour_bar(QPainter& painter, const QRectF& bar, double minimum, double maximum, bool symmetric,
                     bool ranks = false);

}  // namespace headroom::views
