// SPDX-License-Identifier: GPL-3.0-or-later
// The gap waterfall: from dense down to what is executed, a bar with its interval for each of the three gaps. Bars
// below zero are drawn as such; they add up.
#pragma once

#include <QString>
#include <QWidget>
#include <optional>
#include <vector>

namespace headroom::views {

struct WaterfallBar {
  QString name;   ///< "Feasibility"
  QString pair;   ///< "dense → oracle"
  QString value;  ///< "1.2 [−0.5, 3.0]", "0 by construction"
  double points = 0;
  std::optional<double> low, high;  ///< of the bar's own points
  int look = 0;                     ///< colour: the method that it leads to
};

class GapWaterfall : public QWidget {
 public:
  explicit GapWaterfall(QWidget* parent = nullptr);

  /// `dense` and `executed`: scores, where both are known. No bars: `why` stands in their place.
  void show_bars(std::vector<WaterfallBar> bars, std::optional<double> dense, std::optional<double> executed,
                 const QString& why);
  const std::vector<WaterfallBar>& bars() const { return bars_; }
  /// Into a figure too: in units of `unit` screen pixels.
  void draw(QPainter& painter, const QRectF& target, double unit) const;
  QSize sizeHint() const override;
  QSize minimumSizeHint() const override;

 protected:
  void paintEvent(QPaintEvent* event) override;

 private:
  std::vector<WaterfallBar> bars_;
  std::optional<double> dense_, executed_;
  QString why_;
};

}  // namespace headroom::views
