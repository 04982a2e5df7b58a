// SPDX-License-Identifier: GPL-3.0-or-later
// What was measured in a sweep: a marker with its interval for each method and budget, the dense line with its band,
// and below it the mass recall of the calibration samples, which is computed and labelled so.
#pragma once

#include <qcustomplot.h>

#include <optional>
#include <vector>

namespace headroom::views {

struct SweepPoint {
  int look = 0;        ///< of the method: colour and shape
  bool filled = true;  ///< one support a query; shared supports are drawn open
  QString id, name;    ///< method id; what the legend says of its family
  QString tip;
  double x = 0, y = 0;
  std::optional<double> low, high;
  bool alarm = false;  ///< above dense: ringed
};

struct SweepPicture {
  std::vector<SweepPoint> points;
  QString x_label, y_label;
  bool x_percent = false;                                   ///< shares; else counts. Logarithmic in any case
  std::optional<double> dense, margin;                      ///< the dense line, and half its band
  bool from_zero = false;                                   ///< the vertical axis begins at 0 (KL)
  std::vector<double> recall_x, recall_mean, recall_worst;  ///< empty: no curves
  QString recall_label;                                     ///< what the curves were made of, for the legend
};

class SweepPlot : public QCustomPlot {
  Q_OBJECT
 public:
  explicit SweepPlot(QWidget* parent = nullptr);

  void show_picture(SweepPicture picture);
  void set_selected(const QString& id);  ///< method whose marker is larger
  void restyle();
  QString legend_html() const;
  const SweepPicture& picture() const { return picture_; }
  /// Where a point is drawn, in the widget (tests, clicks).
  QPointF place_of(const QString& id) const;

 signals:
  void method_chosen(const QString& id);
  /// The curves came or went with the plot's height.
  void legend_changed();

 protected:
  void mouseMoveEvent(QMouseEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  void rebuild();
  void name_axis();
  bool shows_recall() const;  ///< there are curves, and room for them
  const SweepPoint* point_at(const QPointF& position) const;

  SweepPicture picture_;
  QString selected_;
  QCPAxisRect *measured_, *recall_;
};

}  // namespace headroom::views
