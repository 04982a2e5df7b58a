// SPDX-License-Identifier: GPL-3.0-or-later
// Speedup over dense against the prompt's length, from the open runs of one model on one device or from a bench result:
// a marker for each timed method with its quartiles, and the bound that free attention would have.
#pragma once

#include <qcustomplot.h>

#include <utility>
#include <vector>

#include "views/common/selection.h"

namespace headroom::views {

struct SpeedupPoint {
  int look = 0;
  QString family, tip;
  double tokens = 0, ratio = 0, low = 0, high = 0;
  bool firm = false;  ///< else a hint, drawn open
  int mark = -1;      ///< whose mark it has, where that is not its look's
  bool joined = false;  ///< by a line to the other points of its family
};
struct ContextPicture {
  std::vector<SpeedupPoint> points;
  std::vector<std::pair<double, double>> bounds;  ///< tokens, T_dense / (T_dense - T_attention)
  int runs = 0;
  QString baseline = QObject::tr("dense");  ///< what the ratios are over
  QString axis = QObject::tr("times faster than dense");  ///< short: it stands upright beside a low plot
  QString note = QObject::tr("Bars: quartiles; open markers are hints. Quality stands on the Budget page.");
};
/// Of the open runs with the shown one's model, device and number format.
ContextPicture speedups_by_context(const std::vector<RecordPtr>& runs, const record::RunRecord& shown);

class ContextPlot : public QCustomPlot {
  Q_OBJECT
 public:
  explicit ContextPlot(QWidget* parent = nullptr);
  void show_picture(ContextPicture picture);
  const ContextPicture& picture() const { return picture_; }
  void restyle();
  QString legend_html() const;

 protected:
  void mouseMoveEvent(QMouseEvent* event) override;

 private:
  void rebuild();
  void join_points();
  ContextPicture picture_;
};

}  // namespace headroom::views
