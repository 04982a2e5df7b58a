// SPDX-License-Identifier: GPL-3.0-or-later
// Baseline against candidates: a line of each over the layers, or one point a head. A click chooses the layer or head.
#pragma once

#include <qcustomplot.h>

#include <vector>

#include "views/compare/compare_data.h"

namespace headroom::views {

class CompareChart : public QCustomPlot {
  Q_OBJECT
 public:
  explicit CompareChart(QWidget* parent = nullptr);

  void set_series(std::vector<CompareSeries> series, const CompareQuantity& quantity, const QString& baseline);
  /// With one candidate.
  void set_points(std::vector<ComparePoint> points, const CompareQuantity& quantity, const QString& baseline,
                  const QString& candidate, int candidate_look);
  void set_current(int layer, int head);
  void restyle();
  /// Which mark is whose, as rich text.
  QString legend_html() const;
  const std::vector<CompareSeries>& series() const { return series_; }

 signals:
  void chosen(int layer, int head);  ///< head -1: only a layer was chosen

 protected:
  void resizeEvent(QResizeEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;

 private:
  struct Place {
    const CompareSeries* series = nullptr;
    const ComparePoint* point = nullptr;
  };
  Place nearest(const QPointF& position) const;
  QPointF pixel_of(const ComparePoint& point) const;
  void rebuild();
  void rebuild_lines();
  void rebuild_scatter();

  std::vector<CompareSeries> series_;
  CompareQuantity quantity_;
  QString baseline_;
  int layer_ = -1, head_ = -1;
};

}  // namespace headroom::views
