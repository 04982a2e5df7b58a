// SPDX-License-Identifier: GPL-3.0-or-later
// Time to first token as stacked stages: one bar a method, or one a layer of a method. Whiskers are the quartiles of
// the whole, which stage medians need not add up to.
#pragma once

#include <qcustomplot.h>

#include <array>
#include <string>
#include <vector>

#include "views/common/record_queries.h"

namespace headroom::views {

/// Stages by the names that people use.
QString stage_title(std::size_t stage);
/// "LibTorch".
QString backend_title(const std::string& backend);

class TimingPlot : public QCustomPlot {
  Q_OBJECT
 public:
  explicit TimingPlot(QWidget* parent = nullptr);

  void show_totals(const std::vector<MethodPtr>& methods);
  void show_layers(const record::MethodSummary& method);
  void restyle();
  /// Stages and their colours as rich text.
  QString legend_html() const;
  int num_bars() const { return static_cast<int>(bars_.size()); }
  /// What stands under a position: "Oracle, 512 keys · MLP: 412 ms"; empty where there is no bar.
  QString read_out(const QPointF& position) const;

 protected:
  void mouseMoveEvent(QMouseEvent* event) override;

 private:
  struct Bar {
    QString title;
    std::array<double, num_stages> ms{};
    record::LayerRun run = record::LayerRun::other;  ///< of a layer, where it is worth a mark
    record::Quartiles total;
    double sum() const;
  };
  void rebuild();
  void mark_layers(double height);
  void name_stages();  ///< in the bars, as far as they have room
  void fit_names();

  std::vector<Bar> bars_;
  bool layers_ = false;
  double unit_ = 1;  ///< milliseconds of one axis unit
  struct StageName {
    QCPItemText* text;
    double begin, end;  ///< of its part of the bar, in axis units
  };
  std::vector<StageName> names_;
};

}  // namespace headroom::views
