// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/timing/timing_plot.h"

#include <QMouseEvent>
#include <QToolTip>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "views/common/format.h"
#include "views/common/page_base.h"
#include "views/common/theme.h"

namespace headroom::views {

QString stage_title(std::size_t stage) {
  switch (static_cast<Stage>(stage)) {
    case Stage::embedding:
      return QObject::tr("embedding");
    case Stage::projections:
      return QObject::tr("projections");
    case Stage::score:
      return QObject::tr("score");
    case Stage::select:
      return QObject::tr("selection");
    case Stage::attention:
      return QObject::tr("attention");
    case Stage::linear_attention:
      return QObject::tr("linear attention");
    case Stage::mlp:
      return QObject::tr("MLP");
    case Stage::other:
      return QObject::tr("other");
    case Stage::transfer:
      return QObject::tr("between devices");
  }
  return {};
}

QString backend_title(const std::string& backend) {
  if (backend == "libtorch") return QStringLiteral("LibTorch");
  if (backend == "fa2") return QStringLiteral("FA2");
  if (backend == "cudnn") return QStringLiteral("cuDNN");
  return QString::fromStdString(backend);
}

double TimingPlot::Bar::sum() const {
  return std::accumulate(ms.begin(), ms.end(), 0.0);
}

TimingPlot::TimingPlot(QWidget* parent) : QCustomPlot(parent) {
  setAccessibleName(tr("Time to first token by stage"));
  setMouseTracking(true);
  setAutoAddPlottableToLegend(false);
  axisRect()->setMinimumMargins(QMargins(8, 4, 16, 4));
  connect(this, &QCustomPlot::afterLayout, this, &TimingPlot::fit_names);
  restyle();
}

void TimingPlot::restyle() {
  style_plot(this);
  rebuild();
}

void TimingPlot::show_totals(const std::vector<MethodPtr>& methods) {
  layers_ = false;
  bars_.clear();
  for (const MethodPtr method : methods) {
    Bar bar;
    bar.title = method_title(*method) + method_setting(*method, methods);
    for (std::size_t stage = 0; stage < num_stages; ++stage) bar.ms[stage] = method->stages[stage].median;
    bar.total = method->ttft;
    if (const QString plan = plan_counts_text(*method); !plan.isEmpty()) bar.title += '\n' + plan;
    bars_.push_back(bar);
    for (const auto& baseline : method->baselines)
      bars_.push_back({tr("Dense, %1's attention").arg(backend_title(baseline.backend)), {}, {}, baseline.ttft});
  }
  rebuild();
}

void TimingPlot::show_layers(const record::MethodSummary& method) {
  layers_ = true;
  bars_.clear();
  for (std::size_t layer = 0; layer < method.layer_stages.size(); ++layer)
    bars_.push_back({tr("Layer %1").arg(layer), method.layer_stages[layer], {}, {}});
  const auto plan = plan_counts(method);
  if (plan && plan->dense > 0 && !method.is_dense())
    for (std::size_t layer = 0; layer < std::min(bars_.size(), method.timing_plan->layers.size()); ++layer)
      bars_[layer].run = method.timing_plan->layers[layer].run;
  rebuild();
}

void TimingPlot::rebuild() {
  const Theme& theme = Theme::instance();
  clearPlottables();
  names_.clear();
  clearItems();
  double largest = 0;
  for (const Bar& bar : bars_) largest = std::max({largest, bar.sum(), bar.total.q3});
  unit_ = largest >= 1000 ? 1000 : 1;
  const auto count = static_cast<double>(bars_.size());
  QCPAxis* keys = layers_ ? xAxis : yAxis;
  QCPAxis* values = layers_ ? yAxis : xAxis;
  QVector<double> at(static_cast<qsizetype>(bars_.size()));
  std::iota(at.begin(), at.end(), 0.0);

  QCPBars* below = nullptr;
  for (std::size_t stage = 0; stage < num_stages; ++stage) {
    QVector<double> heights;
    for (const Bar& bar : bars_) heights << bar.ms[stage] / unit_;
    if (std::all_of(heights.begin(), heights.end(), [](double h) { return h <= 0; })) continue;
    auto* bars = new QCPBars(keys, values);
    bars->setName(stage_title(stage));
    bars->setData(at, heights, true);
    bars->setWidth(layers_ ? 0.8 : 0.56);
    bars->setBrush(theme.stage(static_cast<int>(stage)));
    bars->setPen(QPen(theme.background(), 0.5));
    bars->setSelectable(QCP::stNone);
    if (below) bars->moveAbove(below);
    below = bars;
  }
  if (!layers_) {
    QVector<double> medians, minus, plus, timed;
    for (std::size_t i = 0; i < bars_.size(); ++i) {
      const record::Quartiles& total = bars_[i].total;
      if (total.repeats <= 0) continue;
      timed << static_cast<double>(i);
      medians << total.median / unit_;
      minus << (total.median - total.q1) / unit_;
      plus << (total.q3 - total.median) / unit_;
    }
    auto* graph = addGraph(keys, values);
    graph->setLineStyle(QCPGraph::lsNone);
    graph->setScatterStyle(QCPScatterStyle(QCPScatterStyle::ssDiamond, QPen(theme.background(), 1), theme.text(), 10));
    graph->setData(timed, medians);
    graph->setSelectable(QCP::stNone);
    auto* whiskers = new QCPErrorBars(keys, values);
    whiskers->setDataPlottable(graph);
    whiskers->setData(minus, plus);
    whiskers->setPen(QPen(theme.text(), 1.5));
    whiskers->setSymbolGap(0);
    whiskers->setSelectable(QCP::stNone);
    for (std::size_t i = 0; i < bars_.size(); ++i) {
      const Bar& bar = bars_[i];
      auto* text = new QCPItemText(this);
      text->position->setAxes(xAxis, yAxis);
      text->position->setCoords(std::max(bar.sum(), bar.total.q3) / unit_, static_cast<double>(i));
      text->setPositionAlignment(Qt::AlignLeft | Qt::AlignVCenter);
      text->setPadding(QMargins(12, 0, 0, 0));
      text->setText(bar.total.repeats > 0 ? format_ms(bar.total.median) : tr("not timed"));
      text->setFont(font());
      text->setColor(theme.text());
      text->setClipToAxisRect(false);
    }
    name_stages();
  }
  const bool marked =
      std::any_of(bars_.begin(), bars_.end(), [](const Bar& bar) { return bar.run != record::LayerRun::other; });
  if (marked) mark_layers(largest / unit_ * 1.08);
  const QString unit = unit_ == 1000 ? tr("s") : tr("ms");
  values->setLabel(layers_ ? tr("median, %1").arg(unit) : tr("time to first token, %1").arg(unit));
  values->setRange(0, std::max(1e-9, largest / unit_ * (marked ? 1.16 : layers_ ? 1.05 : 1.14)));
  values->setTicker(QSharedPointer<QCPAxisTicker>::create());
  keys->setRange(-0.6, std::max(0.6, count - 0.4));
  values->setRangeReversed(false);
  keys->setRangeReversed(!layers_);
  keys->setLabel(layers_ ? tr("layer") : QString());
  keys->grid()->setVisible(false);
  keys->setTickPen(Qt::NoPen);
  values->grid()->setVisible(true);
  if (layers_) {
    auto ticker = QSharedPointer<QCPAxisTickerFixed>::create();
    ticker->setTickStep(std::max(1.0, std::ceil(count / 32)));
    keys->setTicker(ticker);
    keys->setNumberFormat("f");
    keys->setNumberPrecision(0);
  } else {
    auto ticker = QSharedPointer<QCPAxisTickerText>::create();
    for (std::size_t i = 0; i < bars_.size(); ++i) ticker->addTick(static_cast<double>(i), bars_[i].title);
    keys->setTicker(ticker);
  }
  values->setNumberFormat("gb");
  values->setNumberPrecision(6);
  replot(QCustomPlot::rpQueuedReplot);
}

void TimingPlot::name_stages() {
  for (std::size_t i = 0; i < bars_.size(); ++i) {
    double begin = 0;
    for (std::size_t stage = 0; stage < num_stages; ++stage) {
      const double end = begin + bars_[i].ms[stage] / unit_;
      if (bars_[i].ms[stage] > 0) {
        auto* text = new QCPItemText(this);
        text->position->setAxes(xAxis, yAxis);
        text->position->setCoords((begin + end) / 2, static_cast<double>(i));
        text->setText(stage_title(stage));
        text->setFont(font());
        text->setColor(Theme::instance().text());
        names_.push_back({text, begin, end});
      }
      begin = end;
    }
  }
}

void TimingPlot::fit_names() {
  const QFontMetricsF metrics(font());
  const double bar = std::abs(yAxis->coordToPixel(0.56) - yAxis->coordToPixel(0));
  for (const StageName& name : names_) {
    const double room = std::abs(xAxis->coordToPixel(name.end) - xAxis->coordToPixel(name.begin));
    // The whole's diamond, at the bar's end, may lie over a name: half a line is left to it.
    name.text->setVisible(bar >= metrics.height() &&
                          metrics.horizontalAdvance(name.text->text()) + metrics.height() <= room);
  }
}

// A row of squares above the bars: filled where the layer ran dense.
void TimingPlot::mark_layers(double height) {
  const Theme& theme = Theme::instance();
  for (const auto run : {record::LayerRun::dense, record::LayerRun::sparse}) {
    QVector<double> at, heights;
    for (std::size_t i = 0; i < bars_.size(); ++i) {
      if (bars_[i].run != run) continue;
      at << static_cast<double>(i);
      heights << height;
    }
    auto* graph = addGraph(xAxis, yAxis);
    graph->setLineStyle(QCPGraph::lsNone);
    const QBrush fill = run == record::LayerRun::dense ? QBrush(theme.text()) : QBrush(Qt::NoBrush);
    graph->setScatterStyle(QCPScatterStyle(QCPScatterStyle::ssSquare, QPen(theme.text(), 1.2), fill, 8));
    graph->setData(at, heights);
    graph->setSelectable(QCP::stNone);
  }
}

QString TimingPlot::legend_html() const {
  const Theme& theme = Theme::instance();
  QString html;
  const auto entry = [&](const QString& mark, const QColor& colour, const QString& name) {
    html += QStringLiteral("<span style=\"color:%1\">%2</span>&nbsp;%3&nbsp;&nbsp; ")
                .arg(colour.name(), mark, QString(name).replace(' ', "&nbsp;"));
  };
  for (std::size_t stage = 0; stage < num_stages; ++stage)
    if (std::any_of(bars_.begin(), bars_.end(), [&](const Bar& bar) { return bar.ms[stage] > 0; }))
      entry(QStringLiteral("■"), theme.stage(static_cast<int>(stage)), stage_title(stage));
  if (std::any_of(bars_.begin(), bars_.end(), [](const Bar& bar) { return bar.run != record::LayerRun::other; })) {
    entry(QStringLiteral("■"), theme.text(), tr("ran dense"));
    entry(QStringLiteral("□"), theme.text(), tr("ran sparse"));
  }
  if (!layers_) entry(QStringLiteral("◆"), theme.text(), tr("whole: median, whiskers at the quartiles"));
  return html;
}

QString TimingPlot::read_out(const QPointF& position) const {
  if (!axisRect()->rect().contains(position.toPoint())) return {};
  const double key = layers_ ? xAxis->pixelToCoord(position.x()) : yAxis->pixelToCoord(position.y());
  const double value = (layers_ ? yAxis->pixelToCoord(position.y()) : xAxis->pixelToCoord(position.x())) * unit_;
  const long index = std::lround(key);
  if (index < 0 || index >= static_cast<long>(bars_.size()) || std::abs(key - static_cast<double>(index)) > 0.42)
    return {};
  const Bar& bar = bars_[static_cast<std::size_t>(index)];
  double end = 0;
  for (std::size_t stage = 0; stage < num_stages; ++stage) {
    end += bar.ms[stage];
    if (value >= 0 && value < end)
      return tr("%1 · %2: %3 (%4 of the stages' sum)")
          .arg(QString(bar.title).replace('\n', QStringLiteral(", ")), stage_title(stage), format_ms(bar.ms[stage]),
               format_percent(bar.ms[stage] / bar.sum()));
  }
  return {};
}

void TimingPlot::mouseMoveEvent(QMouseEvent* event) {
  const QString text = read_out(event->position());
  if (text.isEmpty()) {
    QToolTip::hideText();
  } else {
    QToolTip::showText(event->globalPosition().toPoint(), text, this);
  }
}

}  // namespace headroom::views
