// SPDX-License-Identifier: GPL-3.0-or-later
// Mass recall against the budget: lines from the stored curves, markers where a method was really run, the chosen
// budget as a line that can be dragged, and below it the KL to dense of the runs.
#pragma once

#include <qcustomplot.h>

#include <optional>
#include <vector>

#include "views/budget/beside_curve.h"
#include "views/common/record_queries.h"

namespace headroom::views {

struct BudgetMarker {
  int look = 0;   ///< of the method: colour and shape
  QString name;   ///< "Oracle top-k", what the legend says
  QString title;  ///< "Oracle top-k, 512 keys"
  double budget = 0, density = 0, captured = 0;
  std::optional<double> kl;
  bool current_run = true;  ///< others are drawn open
  std::optional<double> ttft_ms;  ///< median of its timed passes
};

class BudgetPlot : public QCustomPlot {
  Q_OBJECT
 public:
  explicit BudgetPlot(QWidget* parent = nullptr);

  void set_curves(RecallCurves curves, std::int64_t length, bool one_layer);
  /// `name`: what the shown curves are called where others stand beside them.
  void set_beside(std::vector<BesideCurve> beside, const QString& name);
  void set_markers(std::vector<BudgetMarker> markers);
  void set_density_axis(bool density);
  void set_budget(double keys);
  void restyle();
  /// Lines and markers in words, as rich text.
  QString legend_html() const;
  /// Pixel x of a budget on the axis (tests, drags).
  double pixel_of(double keys) const;

 signals:
  void budget_dragged(double keys);
  void drag_finished();

 protected:
  void mousePressEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void mouseReleaseEvent(QMouseEvent* event) override;

 private:
  double axis_value(double keys) const;
  double keys_of(double axis_value) const;
  bool inside(const QPointF& position) const;
  void drag_to(const QPointF& position);
  void rebuild();
  void show_tip(const QPointF& position);

  RecallCurves curves_;
  std::vector<BesideCurve> beside_;
  QString name_;
  std::vector<BudgetMarker> markers_;
  std::int64_t length_ = 1;
  bool one_layer_ = false, density_ = false, dragging_ = false;
  double budget_ = 1;
  QCPAxisRect *recall_, *kl_;
  QCPItemStraightLine *line_, *kl_line_;
  QCPItemText* line_label_;
};

}  // namespace headroom::views
