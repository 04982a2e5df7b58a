// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/timing/context_plot.h"

#include <QMouseEvent>
#include <QToolTip>
#include <algorithm>
#include <cmath>
#include <map>

#include "record/speedup.h"
#include "views/common/format.h"
#include "views/common/open_sweep.h"
#include "views/common/page_base.h"
#include "views/common/record_queries.h"
#include "views/common/theme.h"
#include "views/timing/timing_model.h"

namespace headroom::views {
namespace {

class TokensTicker : public QCPAxisTicker {
 protected:
  QVector<double> createTickVector(double, const QCPRange& range) override {
    QVector<double> ticks;
    for (double tokens = 64; tokens <= range.upper; tokens *= 2)
      if (tokens >= range.lower) ticks << tokens;
    return ticks;
  }
  int getSubTickCount(double) override { return 0; }
  QString getTickLabel(double tick, const QLocale&, QChar, int) override { return format_count(std::llround(tick)); }
};

QCPScatterStyle marker_of(const SpeedupPoint& point) {
  if (point.mark < 0 || point.mark == point.look) return method_marker(point.look, 11, point.firm);
  QCPScatterStyle style = method_marker(point.mark, 11, point.firm);
  const QColor colour = Theme::instance().method(point.look);
  style.setPen(QPen(colour, 2));
  if (point.firm) style.setBrush(colour);
  return style;
}

}  // namespace

ContextPicture speedups_by_context(const std::vector<RecordPtr>& runs, const record::RunRecord& shown) {
  ContextPicture picture;
  for (const RecordPtr& run : runs) {
    const auto &meta = run->meta(), &wanted = shown.meta();
    if (meta.model_sha256 != wanted.model_sha256 || meta.device != wanted.device || meta.dtype != wanted.dtype)
      continue;
    const auto* dense = dense_of(*run);
    if (!dense || dense->ttft.repeats <= 0) continue;
    ++picture.runs;
    const double tokens = static_cast<double>(run->length());
    if (const auto bound = amdahl_bound(*dense)) picture.bounds.emplace_back(tokens, *bound);
    for (const auto& method : run->methods()) {
      const auto speedup = &method == dense ? std::nullopt : record::speedup_over(method, *dense, meta.timed_in_turn);
      if (!speedup) continue;
      QString tip = QObject::tr("%1 in %2, %3 tokens\n%4x over dense [%5–%6]")
                        .arg(method_label(*run, method), QString::fromStdString(run->path().stem().string()),
                             format_count(run->length()), format_fixed(speedup->ratio, 2),
                             format_fixed(speedup->low, 2), format_fixed(speedup->high, 2));
      if (!speedup->firm()) tip += QObject::tr("\na hint: one pass, not in turn, or other work beside it");
      SpeedupPoint point;
      point.look = method.look;
      point.family = method_title(method);
      point.tip = tip;
      point.tokens = tokens;
      point.ratio = speedup->ratio;
      point.low = speedup->low;
      point.high = speedup->high;
      point.firm = speedup->firm();
      picture.points.push_back(point);
    }
  }
  return picture;
}

ContextPlot::ContextPlot(QWidget* parent) : QCustomPlot(parent) {
  setObjectName("context_plot");
  setAccessibleName(tr("Speedup over dense against the prompt's length"));
  setMouseTracking(true);
  setAutoAddPlottableToLegend(false);
  xAxis->setScaleType(QCPAxis::stLogarithmic);
  xAxis->setTicker(QSharedPointer<TokensTicker>::create());
  xAxis->setLabel(tr("tokens of the prompt"));
  restyle();
}

void ContextPlot::show_picture(ContextPicture picture) {
  picture_ = std::move(picture);
  rebuild();
}

void ContextPlot::restyle() {
  style_plot(this);
  rebuild();
}

void ContextPlot::rebuild() {
  const Theme& theme = Theme::instance();
  yAxis->setLabel(picture_.axis);
  clearPlottables();
  clearItems();
  double left = 1e300, right = 0, high = 1.2, low = 0.9;
  const auto reach = [&](double tokens, double bottom, double top) {
    left = std::min(left, tokens);
    right = std::max(right, tokens);
    low = std::min(low, bottom);
    high = std::max(high, top);
  };
  for (const auto& point : picture_.points) reach(point.tokens, point.low, point.high);
  for (const auto& [tokens, bound] : picture_.bounds) reach(tokens, bound, bound);
  if (!(right > 0)) left = 1024, right = 4096;
  xAxis->setRange(left / 1.5, right * 1.5);
  yAxis->setRange(low - 0.05 * (high - low), high + 0.08 * (high - low));
  auto* one = new QCPItemLine(this);
  one->start->setCoords(left / 1.5, 1);
  one->end->setCoords(right * 1.5, 1);
  one->setPen(QPen(theme.text(), 1.5));
  for (const auto& [tokens, bound] : picture_.bounds) {
    auto* mark = new QCPItemLine(this);
    mark->start->setCoords(tokens / 1.18, bound);
    mark->end->setCoords(tokens * 1.18, bound);
    mark->setPen(QPen(theme.muted_text(), 2.5, Qt::DotLine));
  }
  join_points();
  // One graph a point: some are filled and some open, and there are few.
  for (const auto& point : picture_.points) {
    auto* graph = add_markers(xAxis, yAxis);
    graph->setScatterStyle(marker_of(point));
    graph->setData(QVector<double>{point.tokens}, QVector<double>{point.ratio});
    auto* bars = new QCPErrorBars(xAxis, yAxis);
    bars->setDataPlottable(graph);
    bars->setData(QVector<double>{point.ratio - point.low}, QVector<double>{point.high - point.ratio});
    bars->setPen(QPen(theme.method(point.look), 1.4));
    bars->setSymbolGap(0);
    bars->setSelectable(QCP::stNone);
  }
  replot(QCustomPlot::rpQueuedReplot);
}

void ContextPlot::join_points() {
  std::map<QString, QMap<double, double>> lines;  // by family: ratios by tokens
  std::map<QString, int> looks;
  for (const auto& point : picture_.points) {
    if (!point.joined) continue;
    lines[point.family].insert(point.tokens, point.ratio);
    looks[point.family] = point.look;
  }
  for (const auto& [family, line] : lines) {
    auto* graph = new QCPGraph(xAxis, yAxis);
    QColor colour = Theme::instance().method(looks[family]);
    colour.setAlphaF(0.5f);
    graph->setPen(QPen(colour, 1.2));
    graph->setSelectable(QCP::stNone);
    graph->setData(line.keys(), line.values(), true);
  }
}

QString ContextPlot::legend_html() const {
  const Theme& theme = Theme::instance();
  QString html;
  const auto entry = [&](const QString& mark, const QColor& colour, const QString& name) {
    html += QStringLiteral("<span style=\"color:%1\"><b>%2</b></span>&nbsp;%3&nbsp;&nbsp; ")
                .arg(colour.name(), mark, name.toHtmlEscaped().replace(' ', "&nbsp;"));
  };
  QStringList named;
  for (const auto& point : picture_.points) {
    if (named.contains(point.family)) continue;
    named << point.family;
    entry(method_mark(point.mark < 0 ? point.look : point.mark, true), theme.method(point.look), point.family);
  }
  entry(QStringLiteral("━━"), theme.text(), picture_.baseline);
  if (!picture_.bounds.empty()) entry(QStringLiteral("┈┈"), theme.muted_text(), tr("bound: were attention free"));
  if (picture_.points.empty())
    html += tr("Nothing here has a speedup to show.");
  else
    html += picture_.note.toHtmlEscaped();
  return html;
}

void ContextPlot::mouseMoveEvent(QMouseEvent* event) {
  for (const auto& point : picture_.points) {
    const QPointF place(xAxis->coordToPixel(point.tokens), yAxis->coordToPixel(point.ratio));
    const QPointF away = place - event->position();
    if (std::hypot(away.x(), away.y()) < 12)
      return QToolTip::showText(mapToGlobal(event->position().toPoint()), plain_tip(point.tip), this);
  }
  QToolTip::hideText();
}

}  // namespace headroom::views
