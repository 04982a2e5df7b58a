// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/compare/compare_chart.h"

#include <QMouseEvent>
#include <QToolTip>
#include <algorithm>
#include <cmath>

#include "views/common/format.h"
#include "views/common/page_base.h"
#include "views/common/theme.h"

namespace headroom::views {
namespace {

bool is_share(const CompareQuantity& quantity) {
  return quantity.kind == CompareQuantity::Kind::heads ? quantity.statistic->unit == GridStatistic::Unit::share
                                                       : quantity.kind != CompareQuantity::Kind::output_drift;
}

/// The values with some room around them; shares end at 0 and 100 %.
QCPRange range_of(double low, double high, double room, const CompareQuantity& quantity) {
  const double pad = std::max(1e-6, (high - low) * room);
  const bool share = is_share(quantity) && low >= 0 && high <= 1 + 1e-6;
  return {share ? std::max(0.0, low - pad) : low - pad, share ? std::min(1.0, high + pad) : high + pad};
}

/// Tick labels in the quantity's own unit.
class QuantityTicker : public QCPAxisTicker {
 public:
  explicit QuantityTicker(CompareQuantity quantity) : quantity_(quantity) { setTickCount(5); }

 protected:
  QString getTickLabel(double tick, const QLocale&, QChar, int) override {
    if (!is_share(quantity_)) return std::abs(tick) < 1e-9 ? QStringLiteral("0") : format_number(tick);
    const double percent = tick * 100;
    return format_fixed(percent, std::abs(percent - std::round(percent)) > 0.01 ? 1 : 0) + " %";
  }

 private:
  CompareQuantity quantity_;
};

}  // namespace

CompareChart::CompareChart(QWidget* parent) : QCustomPlot(parent) {
  setAccessibleName(tr("Baseline against candidate"));
  setMouseTracking(true);
  setAutoAddPlottableToLegend(false);
  axisRect()->setMinimumMargins(QMargins(8, 8, 16, 4));
  restyle();
}

void CompareChart::set_series(std::vector<CompareSeries> series, const CompareQuantity& quantity,
                              const QString& baseline) {
  series_ = std::move(series);
  quantity_ = quantity;
  baseline_ = baseline;
  rebuild();
}

void CompareChart::set_points(std::vector<ComparePoint> points, const CompareQuantity& quantity,
                              const QString& baseline, const QString& candidate, int candidate_look) {
  set_series({{candidate, candidate_look, std::move(points)}}, quantity, baseline);
}

void CompareChart::set_current(int layer, int head) {
  if (layer == layer_ && head == head_) return;
  layer_ = layer;
  head_ = head;
  rebuild();
}

void CompareChart::restyle() {
  style_plot(this);
  rebuild();
}

void CompareChart::rebuild() {
  clearPlottables();
  clearItems();
  const bool scatter = quantity_.kind == CompareQuantity::Kind::heads;
  // Labels of a low chart would stand on each other.
  auto ticker = QSharedPointer<QuantityTicker>::create(quantity_);
  ticker->setTickCount(std::clamp(height() / (3 * fontMetrics().height()), 1, 5));
  yAxis->setTicker(ticker);
  if (scatter) {
    rebuild_scatter();
  } else {
    rebuild_lines();
  }
  replot(QCustomPlot::rpQueuedReplot);
}

void CompareChart::resizeEvent(QResizeEvent* event) {
  QCustomPlot::resizeEvent(event);
  rebuild();
}

void CompareChart::rebuild_lines() {
  const Theme& theme = Theme::instance();
  double low = 1e300, high = -1e300, last = 0;
  const auto add = [&](const std::vector<ComparePoint>& points, double ComparePoint::*side, const QColor& colour,
                       bool candidate, int look) {
    QVector<double> x, y;
    for (const auto& point : points) {
      const double value = point.*side;
      last = std::max<double>(last, point.layer);
      // A gap where a layer has no number (sliding, linear) rather than a line across it.
      while (!x.isEmpty() && x.back() < point.layer - 1) {
        x << x.back() + 1;
        y << qQNaN();
      }
      x << point.layer;
      y << value;
      if (!std::isfinite(value)) continue;
      low = std::min(low, value);
      high = std::max(high, value);
    }
    if (std::none_of(y.begin(), y.end(), [](double v) { return std::isfinite(v); })) return;
    auto* graph = addGraph(xAxis, yAxis);
    graph->setPen(QPen(colour, 2, candidate ? Qt::SolidLine : Qt::DashLine));
    graph->setData(x, y, true);
    graph->setSelectable(QCP::stNone);
    auto* marks = add_markers(xAxis, yAxis);
    // One candidate needs no marker of its own; several are told apart by shape as well as by colour.
    marks->setScatterStyle(
        !candidate ? QCPScatterStyle(QCPScatterStyle::ssCircle, QPen(colour, 1.5), theme.background(), 6)
        : series_.size() > 1 ? method_marker(look, 7, true)
                             : QCPScatterStyle(QCPScatterStyle::ssDisc, colour, colour, 6));
    marks->setData(x, y, true);
  };
  if (!series_.empty()) add(series_.front().points, &ComparePoint::baseline, theme.muted_text(), false, 0);
  for (const CompareSeries& one : series_)
    add(one.points, &ComparePoint::candidate, theme.method(one.look), true, one.look);
  auto ticker = QSharedPointer<QCPAxisTickerFixed>::create();
  ticker->setTickStep(std::max(1.0, std::ceil(last / 16)));
  xAxis->setTicker(ticker);
  xAxis->setNumberFormat("f");
  xAxis->setNumberPrecision(0);
  xAxis->setLabel(tr("layer"));
  yAxis->setLabel(quantity_.kind == CompareQuantity::Kind::output_drift ? tr("relative L2 to dense") : QString());
  xAxis->setRange(-0.5, std::max(0.5, last + 0.5));
  if (low > high) {
    low = 0;
    high = 1;
  }
  QCPRange range = range_of(low, high, 0.12, quantity_);
  if (quantity_.kind == CompareQuantity::Kind::output_drift) range.lower = std::min(0.0, low);
  yAxis->setRange(range);
  if (layer_ < 0) return;
  auto* line = new QCPItemStraightLine(this);
  line->setLayer("grid");
  line->point1->setCoords(layer_, 0);
  line->point2->setCoords(layer_, 1);
  QColor mark = theme.accent();
  mark.setAlpha(70);
  line->setPen(QPen(mark, 6));
}

void CompareChart::rebuild_scatter() {
  const Theme& theme = Theme::instance();
  double low = 1e300, high = -1e300;
  for (const CompareSeries& one : series_)
    for (const auto& point : one.points) {
      low = std::min({low, point.baseline, point.candidate});
      high = std::max({high, point.baseline, point.candidate});
    }
  if (low > high) {
    low = 0;
    high = 1;
  }
  const QCPRange range = range_of(low, high, 0.06, quantity_);
  xAxis->setTicker(QSharedPointer<QuantityTicker>::create(quantity_));
  xAxis->setRange(range);
  yAxis->setRange(range);
  xAxis->setLabel(tr("baseline: %1").arg(baseline_));
  yAxis->setLabel(series_.size() == 1 ? tr("candidate: %1").arg(series_.front().name) : tr("candidates"));
  auto* diagonal = new QCPItemStraightLine(this);
  diagonal->setLayer("grid");
  diagonal->point1->setCoords(range.lower, range.lower);
  diagonal->point2->setCoords(range.upper, range.upper);
  diagonal->setPen(QPen(theme.muted_text(), 1, Qt::DashLine));
  const auto add = [&](const QVector<double>& at, const QVector<double>& values, const QColor& colour, double size,
                       int look) {
    if (at.isEmpty()) return;
    auto* graph = add_markers(xAxis, yAxis);
    QColor fill = colour;
    fill.setAlpha(150);
    graph->setScatterStyle(series_.size() > 1
                               ? method_marker(look, size, true)
                               : QCPScatterStyle(QCPScatterStyle::ssCircle, QPen(colour, 1), fill, size));
    graph->setData(at, values);
  };
  QVector<double> chosen_x, chosen_y;
  for (const CompareSeries& one : series_) {
    QVector<double> x, y;
    for (const auto& point : one.points) {
      const bool current = point.layer == layer_ && (head_ < 0 || point.head == head_);
      (current ? chosen_x : x) << point.baseline;
      (current ? chosen_y : y) << point.candidate;
    }
    add(x, y, theme.method(one.look), 6, one.look);
  }
  auto* chosen = add_markers(xAxis, yAxis);
  QColor fill = theme.text();
  fill.setAlpha(150);
  chosen->setScatterStyle(QCPScatterStyle(QCPScatterStyle::ssCircle, QPen(theme.text(), 1), fill, 9));
  chosen->setData(chosen_x, chosen_y);
}

QString CompareChart::legend_html() const {
  const Theme& theme = Theme::instance();
  QString html;
  const auto entry = [&](const QByteArray& mark, const QColor& colour, const QString& name) {
    html += QStringLiteral("<span style=\"color:%1\">%2</span>&nbsp;<span style=\"color:%3\">%4</span>&nbsp;&nbsp; ")
                .arg(colour.name(), QString::fromUtf8(mark), theme.text().name(), name.toHtmlEscaped());
  };
  const auto mark = [&](const CompareSeries& one) {
    return series_.size() > 1 ? method_mark(one.look, true).toUtf8() : QByteArray("●");
  };
  if (quantity_.kind == CompareQuantity::Kind::heads) {
    for (const CompareSeries& one : series_)
      entry(mark(one), theme.method(one.look), series_.size() > 1 ? tr("one head, %1").arg(one.name) : tr("one head"));
    entry("●", theme.text(), head_ < 0 ? tr("of the selected layer") : tr("the selected head"));
    return html;
  }
  const auto has = [&](const CompareSeries& one, double ComparePoint::*side) {
    return std::any_of(one.points.begin(), one.points.end(),
                       [&](const auto& point) { return std::isfinite(point.*side); });
  };
  if (!series_.empty() && has(series_.front(), &ComparePoint::baseline)) entry("○", theme.muted_text(), baseline_);
  for (const CompareSeries& one : series_)
    if (has(one, &ComparePoint::candidate)) entry(mark(one), theme.method(one.look), one.name);
  return html;
}

QPointF CompareChart::pixel_of(const ComparePoint& point) const {
  if (quantity_.kind == CompareQuantity::Kind::heads)
    return {xAxis->coordToPixel(point.baseline), yAxis->coordToPixel(point.candidate)};
  return {xAxis->coordToPixel(point.layer), 0};
}

CompareChart::Place CompareChart::nearest(const QPointF& position) const {
  if (!axisRect()->rect().contains(position.toPoint())) return {};
  const bool scatter = quantity_.kind == CompareQuantity::Kind::heads;
  Place best;
  double best_distance = scatter ? 14 : 40;
  for (const CompareSeries& one : series_)
    for (const auto& point : one.points) {
      const QPointF at = pixel_of(point);
      const double distance =
          scatter ? std::hypot(at.x() - position.x(), at.y() - position.y()) : std::abs(at.x() - position.x());
      if (distance >= best_distance) continue;
      best_distance = distance;
      best = {&one, &point};
    }
  return best;
}

void CompareChart::mousePressEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton) return;
  if (const Place place = nearest(event->position()); place.point) emit chosen(place.point->layer, place.point->head);
}

void CompareChart::mouseMoveEvent(QMouseEvent* event) {
  const Place near = nearest(event->position());
  if (!near.point) return QToolTip::hideText();
  const ComparePoint& point = *near.point;
  QStringList lines{point.head < 0 ? tr("Layer %1").arg(point.layer)
                                   : tr("Layer %1, head %2").arg(point.layer).arg(point.head),
                    QStringLiteral("%1: %2").arg(baseline_, quantity_.format(point.baseline))};
  // Over a layer all candidates are of interest; a point of the scatter is one candidate's.
  for (const CompareSeries& one : series_) {
    if (point.head >= 0 && &one != near.series) continue;
    for (const auto& other : one.points)
      if (other.layer == point.layer && other.head == point.head)
        lines << QStringLiteral("%1: %2").arg(one.name, quantity_.format(other.candidate));
  }
  QToolTip::showText(event->globalPosition().toPoint(), lines.join('\n'), this);
}

}  // namespace headroom::views
