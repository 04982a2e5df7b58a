// SPDX-License-Identifier: GPL-3.0-or-later
// Timing: where the time to first token goes, method by method, with what it costs in quality beside it; or what a
// bench result measured, length by length.
#pragma once

#include "views/common/page_base.h"
#include "views/common/record_queries.h"

class QComboBox;
class QLabel;
class QPushButton;
class QSplitter;
class QTableView;

namespace headroom::views {

class BenchModel;
class ContextPlot;
class TimingModel;
class TimingPlot;

class TimingPage : public PageBase, public Exportable {
  Q_OBJECT
 public:
  explicit TimingPage(Selection* selection, QWidget* parent = nullptr);

  TimingModel* model() const { return model_; }
  BenchModel* bench_model() const { return bench_model_; }
  TimingPlot* plot() const { return plot_; }
  ContextPlot* context_plot() const { return context_plot_; }
  QString bound_text() const;

  void render(QPainter& painter, const QRectF& target, const ExportOptions& options) override;
  bool ready() const override { return settled(); }
  double wanted_height(double width, double least_text) override;
  QString csv() const override;
  QString title() const override;
  QString source_text() const override;

 protected:
  void refresh(unsigned mask) override;
  void restyle() override;
  bool has_content() const override;

 private:
  void build();
  void fill_views();
  void choose_view();
  void show_run();
  void fit_columns();
  bool eventFilter(QObject* object, QEvent* event) override;  ///< the table's columns follow its width
  void show_plot();
  void draw_text(Figure& figure) const;  ///< what stands above the plot
  bool left_out(int row) const;          ///< of the table in a figure: the bars show it
  int plot_height() const;               ///< at which the bars' names do not touch
  QString context_text() const;
  QString unoptimised_text() const;

  RecordPtr record_;
  BenchPtr bench_;  ///< shown in place of the run
  bool has_shown_bench_ = false;
  std::vector<MethodPtr> methods_;
  QLabel *context_, *bound_, *note_, *legend_;
  QComboBox* view_;
  QPushButton* close_;  ///< of the shown bench result
  bool shows_context() const;
  QSplitter* parts_;  ///< plot and table
  TimingPlot* plot_;
  ContextPlot* context_plot_;
  TimingModel* model_;
  BenchModel* bench_model_;
  QTableView* table_;
};

}  // namespace headroom::views
