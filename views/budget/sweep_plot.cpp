// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/budget/sweep_plot.h"

#include <QMouseEvent>
#include <QToolTip>
#include <algorithm>
#include <cmath>

#include "views/common/format.h"
#include "views/common/page_base.h"
#include "views/common/theme.h"

namespace headroom::views {
namespace {

/// 1, 2, 5, 10, … with thousands separators, or shares as percentages: a sweep spans one decade or two, too little for
/// powers of ten alone.
class SweepTicker : public QCPAxisTicker {
 public:
  explicit SweepTicker(bool percent) : percent_(percent) {}

 protected:
  QVector<double> createTickVector(double, const QCPRange& range) override {
    QVector<double> ticks;
    for (double decade = std::pow(10.0, std::floor(std::log10(std::max(range.lower, 1e-9)))); decade <= range.upper;
         decade *= 10)
      for (const double step : {1.0, 2.0, 5.0})
        if (decade * step >= range.lower * 0.999 && decade * step <= range.upper * 1.001) ticks << decade * step;
    return ticks;
  }
  int getSubTickCount(double) override { return 0; }
  QString getTickLabel(double tick, const QLocale&, QChar, int) override {
    return percent_ ? format_percent(tick) : format_count(std::llround(tick));
  }

 private:
  bool percent_;
};

class SharesTicker : public QCPAxisTicker {
 protected:
  QString getTickLabel(double tick, const QLocale&, QChar, int) override { return format_fixed(tick * 100, 0) + " %"; }
};

struct Family {
  int look = 0;
  bool filled = true;
  QString name;
  bool operator==(const Family&) const = default;
};
Family family_of(const SweepPoint& point) {
  return {point.look, point.filled, point.name};
}

}  // namespace

SweepPlot::SweepPlot(QWidget* parent) : QCustomPlot(parent) {
  setObjectName("sweep_plot");
  setAccessibleName(tr("What each method and budget of the sweep scored, with intervals"));
  setMouseTracking(true);
  plotLayout()->clear();
  measured_ = new QCPAxisRect(this, false);
  recall_ = new QCPAxisRect(this, false);
  auto* margins = new QCPMarginGroup(this);
  for (QCPAxisRect* rect : {measured_, recall_}) {
    rect->setLayer("background");
    rect->addAxes(QCPAxis::atBottom | QCPAxis::atLeft);
    for (const auto type : {QCPAxis::atBottom, QCPAxis::atLeft}) rect->axis(type)->grid()->setLayer("grid");
    rect->axis(QCPAxis::atBottom)->setScaleType(QCPAxis::stLogarithmic);
    rect->setMinimumMargins(QMargins(8, 8, 16, 4));
    rect->setMarginGroup(QCP::msLeft | QCP::msRight, margins);
  }
  plotLayout()->addElement(0, 0, measured_);
  plotLayout()->addElement(1, 0, recall_);
  plotLayout()->setRowStretchFactor(0, 3);
  plotLayout()->setRowStretchFactor(1, 1);
  plotLayout()->setRowSpacing(4);
  recall_->axis(QCPAxis::atLeft)->setTicker(QSharedPointer<SharesTicker>::create());
  recall_->axis(QCPAxis::atLeft)->ticker()->setTickCount(3);
  measured_->axis(QCPAxis::atLeft)->ticker()->setTickCount(6);
  setAutoAddPlottableToLegend(false);
  restyle();
}

void SweepPlot::show_picture(SweepPicture picture) {
  picture_ = std::move(picture);
  rebuild();
}

void SweepPlot::set_selected(const QString& id) {
  if (std::exchange(selected_, id) != id) rebuild();
}

void SweepPlot::restyle() {
  style_plot(this);
  setMinimumHeight(14 * fontMetrics().height());  // the axis' title and its numbers beside each other
  rebuild();
}

bool SweepPlot::shows_recall() const {
  return !picture_.recall_x.empty() && height() >= 17 * fontMetrics().height();
}

/// A narrow plot names its axis without the explanation behind the colon.
void SweepPlot::name_axis() {
  const bool fits = fontMetrics().horizontalAdvance(picture_.x_label) <= width() - 5 * fontMetrics().height();
  const QString name = fits ? picture_.x_label : picture_.x_label.section(':', 0, 0);
  measured_->axis(QCPAxis::atBottom)->setLabel(shows_recall() ? QString() : name);
  recall_->axis(QCPAxis::atBottom)->setLabel(name);
}

void SweepPlot::resizeEvent(QResizeEvent* event) {
  name_axis();
  QCustomPlot::resizeEvent(event);
  if (recall_->realVisibility() == shows_recall()) return;
  rebuild();
  emit legend_changed();
}

void SweepPlot::rebuild() {
  const Theme& theme = Theme::instance();
  clearPlottables();
  clearItems();
  QCPAxis* const x = measured_->axis(QCPAxis::atBottom);
  QCPAxis* const y = measured_->axis(QCPAxis::atLeft);
  QCPAxis* const rx = recall_->axis(QCPAxis::atBottom);
  QCPAxis* const ry = recall_->axis(QCPAxis::atLeft);
  const bool has_recall = shows_recall();
  recall_->setVisible(has_recall);
  recall_->setMaximumSize(QWIDGETSIZE_MAX, has_recall ? QWIDGETSIZE_MAX : 0);
  recall_->setMinimumSize(0, has_recall ? 5 * fontMetrics().height() : 0);

  double left = 1e300, right = 0, low = picture_.from_zero ? 0 : 1e300, high = -1e300;
  for (const SweepPoint& point : picture_.points) {
    left = std::min(left, point.x);
    right = std::max(right, point.x);
    low = std::min({low, point.y, point.low.value_or(point.y)});
    high = std::max({high, point.y, point.high.value_or(point.y)});
  }
  if (picture_.dense) {
    const double margin = picture_.margin.value_or(0);
    low = std::min(low, *picture_.dense - 1.5 * margin);
    high = std::max(high, *picture_.dense + 1.5 * margin);
  }
  if (!(right > 0)) left = 0.01, right = 1;
  if (!(high > low)) low -= 1, high = low + 2;
  const double space = 0.06 * (high - low);
  y->setRange(picture_.from_zero ? -space / 2 : low - space, high + space);
  const QCPRange across(left / 1.25, std::max(right * 1.25, left * 1.6));
  for (QCPAxis* axis : {x, rx}) {
    axis->setTicker(QSharedPointer<SweepTicker>::create(picture_.x_percent));
    axis->setRange(across);
  }
  x->setTickLabels(!has_recall);
  name_axis();
  y->setLabel(picture_.y_label);
  ry->setLabel(tr("mass"));

  if (picture_.dense) {
    const auto stroke = [&](double value, const QPen& pen) {
      auto* line = new QCPItemLine(this);
      line->setClipAxisRect(measured_);
      for (QCPItemPosition* end : {line->start, line->end}) end->setAxes(x, y);
      line->start->setCoords(across.lower, value);
      line->end->setCoords(across.upper, value);
      line->setPen(pen);
    };
    if (picture_.margin) {
      auto* band = new QCPItemRect(this);
      band->setLayer("grid");
      band->setClipAxisRect(measured_);
      for (QCPItemPosition* corner : {band->topLeft, band->bottomRight}) corner->setAxes(x, y);
      band->topLeft->setCoords(across.lower, *picture_.dense + *picture_.margin);
      band->bottomRight->setCoords(across.upper, *picture_.dense - *picture_.margin);
      QColor tint = theme.muted_text();
      tint.setAlphaF(0.16f);
      band->setBrush(tint);
      band->setPen(Qt::NoPen);
    }
    stroke(*picture_.dense, QPen(theme.text(), 1.5));
  }

  std::vector<Family> families;
  for (const SweepPoint& point : picture_.points)
    if (std::find(families.begin(), families.end(), family_of(point)) == families.end())
      families.push_back(family_of(point));
  for (const Family& family : families) {
    QVector<double> px, py, minus, plus;
    for (const SweepPoint& point : picture_.points) {
      if (!(family_of(point) == family)) continue;
      px << point.x;
      py << point.y;
      minus << (point.low ? point.y - *point.low : qQNaN());
      plus << (point.high ? *point.high - point.y : qQNaN());
    }
    auto* graph = add_markers(x, y);
    graph->setScatterStyle(method_marker(family.look, 10, family.filled));
    graph->setPen(QPen(theme.method(family.look)));
    graph->setData(px, py);
    auto* bars = new QCPErrorBars(x, y);
    bars->setDataPlottable(graph);
    bars->setData(minus, plus);
    bars->setPen(QPen(theme.method(family.look), 1.4));
    bars->setWhiskerWidth(7);
    bars->setSymbolGap(0);
    bars->setSelectable(QCP::stNone);
  }
  // Rings: what is chosen, and what is above dense.
  for (const SweepPoint& point : picture_.points) {
    if (point.id != selected_ && !point.alarm) continue;
    auto* ring = add_markers(x, y);
    QPen pen(point.alarm ? theme.text() : theme.accent(), 2);
    if (point.alarm) pen.setStyle(Qt::DotLine);
    ring->setScatterStyle(QCPScatterStyle(QCPScatterStyle::ssCircle, pen, QBrush(Qt::NoBrush), point.alarm ? 22 : 18));
    ring->setData(QVector<double>{point.x}, QVector<double>{point.y});
  }

  if (has_recall) {
    const auto curve = [&](const std::vector<double>& values, const QPen& pen) {
      auto* graph = addGraph(rx, ry);
      graph->setData(QVector<double>(picture_.recall_x.begin(), picture_.recall_x.end()),
                     QVector<double>(values.begin(), values.end()), true);
      graph->setPen(pen);
      graph->setSelectable(QCP::stNone);
    };
    curve(picture_.recall_mean, QPen(theme.mass(), 2));
    curve(picture_.recall_worst, QPen(theme.mass(), 1.4, Qt::DotLine));
    double least = 1;
    for (std::size_t i = 0; i < picture_.recall_x.size(); ++i)
      if (picture_.recall_x[i] >= across.lower) least = std::min(least, picture_.recall_worst[i]);
    ry->setRange(std::max(0.0, std::floor(least * 10 - 0.3) / 10), 1);
  }
  replot(QCustomPlot::rpQueuedReplot);
}

QString SweepPlot::legend_html() const {
  const Theme& theme = Theme::instance();
  QString html;
  const auto entry = [&](const QString& mark, const QColor& colour, const QString& name) {
    html += QStringLiteral("<span style=\"color:%1\"><b>%2</b></span>&nbsp;%3&nbsp;&nbsp; ")
                .arg(colour.name(), mark, name.toHtmlEscaped().replace(' ', "&nbsp;").replace('-', QChar(0x2011)));
  };
  if (!picture_.points.empty()) html += tr("measured:") + ' ';
  std::vector<Family> named;
  for (const SweepPoint& point : picture_.points) {
    const Family family = family_of(point);
    if (std::find(named.begin(), named.end(), family) != named.end()) continue;
    named.push_back(family);
    entry(method_mark(family.look, family.filled), theme.method(family.look), family.name);
  }
  if (picture_.dense) {
    entry(QStringLiteral("━━"), theme.text(),
          picture_.margin
              ? tr("dense, ± %1 in grey")
                    .arg(*picture_.margin == 1 ? tr("1 point") : tr("%1 points").arg(format_number(*picture_.margin)))
              : tr("dense"));
  }
  if (shows_recall()) {
    html += tr("mass recall of the %1, computed:").arg(picture_.recall_label.toHtmlEscaped()) + ' ';
    entry(QStringLiteral("━━"), theme.mass(), tr("mean layer"));
    entry(QStringLiteral("┈┈"), theme.mass(), tr("worst layer"));
  }
  return html;
}

QPointF SweepPlot::place_of(const QString& id) const {
  for (const SweepPoint& point : picture_.points)
    if (point.id == id)
      return {measured_->axis(QCPAxis::atBottom)->coordToPixel(point.x),
              measured_->axis(QCPAxis::atLeft)->coordToPixel(point.y)};
  return {};
}

const SweepPoint* SweepPlot::point_at(const QPointF& position) const {
  const SweepPoint* nearest = nullptr;
  double best = 14;
  for (const SweepPoint& point : picture_.points) {
    const double dx = measured_->axis(QCPAxis::atBottom)->coordToPixel(point.x) - position.x();
    const double dy = measured_->axis(QCPAxis::atLeft)->coordToPixel(point.y) - position.y();
    if (std::hypot(dx, dy) >= best) continue;
    best = std::hypot(dx, dy);
    nearest = &point;
  }
  return nearest;
}

void SweepPlot::mouseMoveEvent(QMouseEvent* event) {
  const SweepPoint* point = point_at(event->position());
  setCursor(point ? Qt::PointingHandCursor : Qt::ArrowCursor);
  if (!point) return QToolTip::hideText();
  QToolTip::showText(mapToGlobal(event->position().toPoint()), point->tip, this);
}

void SweepPlot::mousePressEvent(QMouseEvent* event) {
  const SweepPoint* point = point_at(event->position());
  if (event->button() == Qt::LeftButton && point) emit method_chosen(point->id);
}

}  // namespace headroom::views
