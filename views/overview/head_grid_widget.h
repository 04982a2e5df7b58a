// SPDX-License-Identifier: GPL-3.0-or-later
// The layers x heads grid: layers to the right, heads down, coloured by one statistic. GQA groups are bracketed, layers
// with fewer heads leave the rest blank, layers without full attention are bands with their kind's name. Mouse and
// keyboard choose a head of a full layer; Enter opens it.
#pragma once

#include <QWidget>
#include <memory>
#include <vector>

#include "views/common/head_statistics_model.h"

namespace headroom::views {

class HeadGridWidget : public QWidget {
  Q_OBJECT
 public:
  explicit HeadGridWidget(QWidget* parent = nullptr);

  void set_data(std::shared_ptr<const GridData> grid, std::vector<int> order);
  /// head = Hq: the mean row; -1: none.
  void set_current(int layer, int head);
  int current_layer() const { return layer_; }
  int current_head() const { return head_; }
  /// Draws the grid with its axes and colour bar into `area`; `unit` is one screen pixel in painter units.
  void draw(QPainter& painter, const QRectF& area, double unit, bool interactive) const;
  /// Its place on the colour scale, 0 … 1.
  double fraction(double value) const;
  /// Where a cell is drawn on the widget; empty where the layer has no such head, or is not full.
  QRectF cell_rect(int layer, int head) const;
  /// "Layer 12, head 5 (KV group 1): 3.21 nats".
  QString read_out(int layer, int head) const;
  QSize sizeHint() const override;
  QSize minimumSizeHint() const override;

 signals:
  void current_changed(int layer, int head);
  void hovered(int layer, int head);  ///< -1, -1 where the pointer left the cells
  void activated(int layer, int head);

 protected:
  void paintEvent(QPaintEvent* event) override;
  void mousePressEvent(QMouseEvent* event) override;
  void mouseDoubleClickEvent(QMouseEvent* event) override;
  void mouseMoveEvent(QMouseEvent* event) override;
  void leaveEvent(QEvent* event) override;
  void keyPressEvent(QKeyEvent* event) override;

 private:
  struct Layout;
  Layout layout(const QRectF& area, double unit, const QFont& font) const;
  QRectF cell(const Layout& l, int layer, int head) const;
  /// What lies at a position: a cell, or the mean of a layer that is not full for its band.
  bool hit(const QPointF& position, int& layer, int& head) const;
  void move_to(int layer, int head);
  void move_by_columns(int from, int step, int head);
  QColor colour(double value) const;
  double value_at(double fraction) const;
  struct Spread {
    GridStatistic::Scale scale;
    double low, high;  ///< of the value, or of the rest
  };
  Spread spread() const;
  QString end_mark(double fraction) const;
  void draw_cells(QPainter& painter, const Layout& l, double unit) const;
  void draw_bands(QPainter& painter, const Layout& l, double unit) const;
  void draw_brackets(QPainter& painter, const Layout& l, double unit) const;
  void draw_axes(QPainter& painter, const Layout& l, double unit) const;
  void draw_colour_bar(QPainter& painter, const Layout& l, double unit) const;

  std::shared_ptr<const GridData> data_;
  std::vector<int> order_, column_of_layer_;
  double low_ = 0, high_ = 1;
  double usual_low_ = 0,
         usual_high_ = 1;  ///< all but the few farthest values, which take the ends of a logarithmic scale
  bool has_range_ = false;
  int layer_ = -1, head_ = -1, hover_layer_ = -1, hover_head_ = -1;
};

}  // namespace headroom::views
