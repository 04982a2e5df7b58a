// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/budget/budget_plot.h"

#include <QMouseEvent>
#include <QToolTip>
#include <algorithm>
#include <cmath>

#include "views/common/format.h"
#include "views/common/page_base.h"
#include "views/common/theme.h"

namespace headroom::views {
namespace {

/// Markers that look alike and share a line of the legend.
struct MarkerKind {
  int look = 0;
  QString name;
  bool current_run = true;
  bool operator==(const MarkerKind&) const = default;
};

/// 1, 10, 100, 1,000 (or percentages) on a logarithmic axis.
class CountTicker : public QCPAxisTickerLog {
 public:
  explicit CountTicker(bool percent) : percent_(percent) {}

 protected:
  QString getTickLabel(double tick, const QLocale&, QChar, int) override {
    if (!percent_) return format_count(std::llround(tick));
    const double value = tick * 100;
    return format_fixed(value, value >= 0.999 ? 0 : value >= 0.0999 ? 1 : 2) + " %";
  }

 private:
  bool percent_;
};

/// Of lines in one colour: pattern and what the legend shows of it.
struct LinePattern {
  Qt::PenStyle style;
  const char* mark;
};
constexpr LinePattern patterns[] = {{Qt::SolidLine, "━━"},
                                    {Qt::DashLine, "╍╍"},
                                    {Qt::DotLine, "┈┈"},
                                    {Qt::DashDotLine, "╌·╌"},
                                    {Qt::DashDotDotLine, "╌··"}};

/// The pattern of each of `beside`: lines of one colour differ, and the shown run has the first.
std::vector<LinePattern> patterns_of(const std::vector<BesideCurve>& beside) {
  std::vector<LinePattern> list;
  for (std::size_t i = 0; i < beside.size(); ++i) {
    std::size_t before = beside[i].look < 0 ? 1 : 0;
    for (std::size_t j = 0; j < i; ++j) before += beside[j].look == beside[i].look;
    list.push_back(patterns[before % std::size(patterns)]);
  }
  return list;
}

class PercentTicker : public QCPAxisTicker {
 protected:
  QString getTickLabel(double tick, const QLocale&, QChar, int) override { return format_fixed(tick * 100, 0) + " %"; }
};

}  // namespace

BudgetPlot::BudgetPlot(QWidget* parent) : QCustomPlot(parent) {
  setAccessibleName(tr("Mass recall and measured captured mass against the budget"));
  setMouseTracking(true);
  plotLayout()->clear();
  recall_ = new QCPAxisRect(this, false);
  kl_ = new QCPAxisRect(this, false);
  for (QCPAxisRect* rect : {recall_, kl_}) {
    rect->setLayer("background");
    rect->addAxes(QCPAxis::atBottom | QCPAxis::atLeft);
    // One by one: axes() gives them in the order of a hash, which differs from one start of the program to the next.
    for (const auto type : {QCPAxis::atBottom, QCPAxis::atLeft}) rect->axis(type)->grid()->setLayer("grid");
    rect->axis(QCPAxis::atBottom)->setScaleType(QCPAxis::stLogarithmic);
    rect->setMinimumMargins(QMargins(8, 8, 16, 4));
  }
  plotLayout()->addElement(0, 0, recall_);
  plotLayout()->addElement(1, 0, kl_);
  plotLayout()->setRowStretchFactor(0, 3);
  plotLayout()->setRowStretchFactor(1, 1);
  plotLayout()->setRowSpacing(4);
  auto* margins = new QCPMarginGroup(this);
  recall_->setMarginGroup(QCP::msLeft | QCP::msRight, margins);
  kl_->setMarginGroup(QCP::msLeft | QCP::msRight, margins);
  recall_->axis(QCPAxis::atLeft)->setTicker(QSharedPointer<PercentTicker>::create());
  recall_->axis(QCPAxis::atLeft)->setLabel(tr("share of the mass"));
  recall_->axis(QCPAxis::atLeft)->setRange(0, 1);
  kl_->axis(QCPAxis::atLeft)->setLabel(tr("KL, nats"));
  kl_->axis(QCPAxis::atLeft)->ticker()->setTickCount(3);

  setAutoAddPlottableToLegend(false);

  const auto make_line = [&](QCPAxisRect* rect) {
    auto* line = new QCPItemStraightLine(this);
    line->setClipAxisRect(rect);
    line->point1->setAxes(rect->axis(QCPAxis::atBottom), rect->axis(QCPAxis::atLeft));
    line->point2->setAxes(rect->axis(QCPAxis::atBottom), rect->axis(QCPAxis::atLeft));
    return line;
  };
  line_ = make_line(recall_);
  kl_line_ = make_line(kl_);
  line_label_ = new QCPItemText(this);
  line_label_->setClipToAxisRect(false);
  line_label_->position->setAxes(recall_->axis(QCPAxis::atBottom), recall_->axis(QCPAxis::atLeft));
  line_label_->position->setAxisRect(recall_);
  line_label_->position->setTypeX(QCPItemPosition::ptPlotCoords);
  line_label_->position->setTypeY(QCPItemPosition::ptAxisRectRatio);
  line_label_->setPadding(QMargins(4, 1, 4, 1));
  restyle();
}

double BudgetPlot::axis_value(double keys) const {
  return density_ ? density_of(length_, keys) : keys;
}
double BudgetPlot::keys_of(double value) const {
  return density_ ? budget_of_density(length_, value) : std::clamp(value, 1.0, static_cast<double>(length_));
}

void BudgetPlot::set_curves(RecallCurves curves, std::int64_t length, bool one_layer) {
  curves_ = std::move(curves);
  length_ = std::max<std::int64_t>(1, length);
  one_layer_ = one_layer;
  rebuild();
}

void BudgetPlot::set_beside(std::vector<BesideCurve> beside, const QString& name) {
  beside_ = std::move(beside);
  name_ = name;
  rebuild();
}

void BudgetPlot::set_markers(std::vector<BudgetMarker> markers) {
  markers_ = std::move(markers);
  rebuild();
}

void BudgetPlot::set_density_axis(bool density) {
  density_ = density;
  rebuild();
}

void BudgetPlot::restyle() {
  style_plot(this);
  rebuild();
}

void BudgetPlot::rebuild() {
  const Theme& theme = Theme::instance();
  clearPlottables();
  QCPAxis* x = recall_->axis(QCPAxis::atBottom);
  QCPAxis* kx = kl_->axis(QCPAxis::atBottom);
  for (QCPAxis* axis : {x, kx}) {
    axis->setTicker(QSharedPointer<CountTicker>::create(density_));
    double low = axis_value(1), high = axis_value(static_cast<double>(length_));
    for (const BesideCurve& other : beside_) {  // longer prompts are not cut off
      low = std::min(low, density_ ? density_of(other.length, 1) : 1);
      if (!density_) high = std::max(high, static_cast<double>(other.length));
    }
    axis->setRange(low, high);
  }
  const bool any_kl = std::any_of(markers_.begin(), markers_.end(), [](const auto& m) { return m.kl.has_value(); });
  kl_->setVisible(any_kl);
  // A hidden rectangle must not keep its room.
  kl_->setMaximumSize(QWIDGETSIZE_MAX, any_kl ? QWIDGETSIZE_MAX : 0);
  kl_->setMinimumSize(0, any_kl ? 70 : 0);
  kl_line_->setVisible(any_kl);
  const QString x_label =
      density_ ? tr("density: causal pairs attended / all causal pairs") : tr("budget k, keys a query");
  x->setLabel(any_kl ? QString() : x_label);
  x->setTickLabels(!any_kl);
  kx->setLabel(x_label);

  const auto add_curve = [&](const RecallCurves& of, std::int64_t length, const std::vector<double>& values,
                             const QPen& pen) {
    if (values.empty()) return;
    QVector<double> at;
    for (const double k : of.budgets) at << (density_ ? density_of(length, k) : k);
    auto* graph = addGraph(x, recall_->axis(QCPAxis::atLeft));
    graph->setData(at, QVector<double>(values.begin(), values.end()), true);
    graph->setPen(pen);
    graph->setSelectable(QCP::stNone);
  };
  const auto marks = patterns_of(beside_);
  for (std::size_t i = 0; i < beside_.size(); ++i) {
    const BesideCurve& other = beside_[i];
    const QColor colour = other.look < 0 ? theme.muted_text() : theme.method(other.look);
    add_curve(other.curves, other.length, other.curves.mean, QPen(colour, 1.6, marks[i].style));
  }
  add_curve(curves_, length_, curves_.mean, QPen(theme.text(), 2));
  if (beside_.empty()) {
    add_curve(curves_, length_, curves_.p10, QPen(theme.text(), 1.2, Qt::DashLine));
    add_curve(curves_, length_, curves_.low, QPen(theme.muted_text(), 1.2, Qt::DotLine));
    add_curve(curves_, length_, curves_.worst_head, QPen(theme.muted_text(), 1.2, Qt::DashDotLine));
  }

  // Markers: one graph a method name and run kind. Later ones are smaller:
  // the one behind stays visible where two agree.
  std::vector<std::pair<MarkerKind, std::vector<const BudgetMarker*>>> by_kind;
  for (const auto& marker : markers_) {
    const MarkerKind key{marker.look, marker.name, marker.current_run};
    auto found = std::find_if(by_kind.begin(), by_kind.end(), [&](const auto& entry) { return entry.first == key; });
    if (found == by_kind.end()) found = by_kind.insert(found, {key, {}});
    found->second.push_back(&marker);
  }
  double most = 0, least = curves_.mean.empty() ? 1 : curves_.mean.front();
  double size = 13;
  for (const auto& [kind, list] : by_kind) {
    QVector<double> mx, my, kmx, kmy;
    for (const auto* marker : list) {
      mx << (density_ ? marker->density : marker->budget);
      my << marker->captured;
      least = std::min(least, marker->captured);
      if (!marker->kl) continue;
      kmx << mx.back();
      kmy << *marker->kl;
      most = std::max(most, *marker->kl);
    }
    for (const bool kl : {false, true}) {
      auto* graph = add_markers(kl ? kx : x, (kl ? kl_ : recall_)->axis(QCPAxis::atLeft));
      graph->setScatterStyle(method_marker(kind.look, size, kind.current_run));
      graph->setPen(QPen(theme.method(kind.look)));
      graph->setData(kl ? kmx : mx, kl ? kmy : my);
    }
    size = std::max(7.0, size - 3);
  }
  recall_->axis(QCPAxis::atLeft)->setRange(std::max(0.0, std::floor(least * 10 - 0.5) / 10), 1);
  kl_->axis(QCPAxis::atLeft)->setRange(most > 0 ? -0.08 * most : 0, most > 0 ? most * 1.25 : 1);
  QFont small = font();
  small.setPointSizeF(font().pointSizeF() * 0.92);
  for (auto* line : {line_, kl_line_}) line->setPen(QPen(theme.accent(), 2));
  line_label_->setColor(theme.background());
  line_label_->setBrush(theme.accent());
  line_label_->setPen(Qt::NoPen);
  line_label_->setFont(small);
  set_budget(budget_);
}

QString BudgetPlot::legend_html() const {
  const Theme& theme = Theme::instance();
  QString html;
  const auto entry = [&](const QString& mark, const QColor& colour, const QString& name) {
    html += QStringLiteral("<span style=\"color:%1\"><b>%2</b></span>&nbsp;%3&nbsp;&nbsp; ")
                .arg(colour.name(), mark, QString(name).replace(' ', "&nbsp;"));
  };
  if (!beside_.empty()) {
    html += tr("mean of the best k keys by mass (the oracle's bound):") + ' ';
    entry(QString::fromUtf8(patterns[0].mark), theme.text(), name_);
    const auto marks = patterns_of(beside_);
    for (std::size_t i = 0; i < beside_.size(); ++i)
      entry(QString::fromUtf8(marks[i].mark),
            beside_[i].look < 0 ? theme.muted_text() : theme.method(beside_[i].look), beside_[i].name.toHtmlEscaped());
  } else if (!curves_.empty()) {
    html += tr("best k keys by mass (the oracle's bound):") + ' ';
    entry(QStringLiteral("━━"), theme.text(), one_layer_ ? tr("mean row") : tr("mean"));
    entry(QStringLiteral("╍╍"), theme.text(),
          one_layer_ ? tr("10th percentile row") : tr("10th percentile row of the worst layer"));
    entry(QStringLiteral("┈┈"), theme.muted_text(), one_layer_ ? tr("worst row") : tr("worst layer"));
    entry(QStringLiteral("╌·╌"), theme.muted_text(), tr("worst head"));
  }
  std::vector<MarkerKind> named;
  for (const auto& marker : markers_) {
    const MarkerKind key{marker.look, marker.name, marker.current_run};
    if (std::find(named.begin(), named.end(), key) != named.end()) continue;
    if (named.empty()) html += tr("measured:") + ' ';
    named.push_back(key);
    const QString name = marker.name.toLower();
    entry(method_mark(marker.look, marker.current_run), theme.method(marker.look),
          marker.current_run ? name : tr("%1 in another open run").arg(name));
  }
  return html;
}

void BudgetPlot::set_budget(double keys) {
  budget_ = keys;
  const double at = axis_value(keys);
  for (auto* line : {line_, kl_line_}) {
    line->point1->setCoords(at, 0);
    line->point2->setCoords(at, 1);
  }
  line_label_->setText(tr("%1 keys").arg(format_count(std::llround(keys))));
  const bool right_half = pixel_of(keys) > recall_->center().x();
  line_label_->setPositionAlignment((right_half ? Qt::AlignRight : Qt::AlignLeft) | Qt::AlignTop);
  line_label_->position->setCoords(at, 0.02);
  replot(QCustomPlot::rpQueuedReplot);
}

double BudgetPlot::pixel_of(double keys) const {
  return recall_->axis(QCPAxis::atBottom)->coordToPixel(axis_value(keys));
}

bool BudgetPlot::inside(const QPointF& position) const {
  return recall_->rect().contains(position.toPoint()) ||
         (kl_->realVisibility() && kl_->rect().contains(position.toPoint()));
}

void BudgetPlot::drag_to(const QPointF& position) {
  const double value = recall_->axis(QCPAxis::atBottom)->pixelToCoord(position.x());
  emit budget_dragged(std::clamp<double>(std::round(keys_of(value)), 1, static_cast<double>(length_)));
}

void BudgetPlot::mousePressEvent(QMouseEvent* event) {
  if (event->button() != Qt::LeftButton || !inside(event->position())) return;
  dragging_ = true;
  drag_to(event->position());
}

void BudgetPlot::mouseMoveEvent(QMouseEvent* event) {
  if (dragging_) return drag_to(event->position());
  setCursor(inside(event->position()) ? Qt::SplitHCursor : Qt::ArrowCursor);
  show_tip(event->position());
}

void BudgetPlot::mouseReleaseEvent(QMouseEvent* event) {
  if (event->button() == Qt::LeftButton && std::exchange(dragging_, false)) emit drag_finished();
}

void BudgetPlot::show_tip(const QPointF& position) {
  const BudgetMarker* nearest = nullptr;
  double best = 12;
  for (const auto& marker : markers_) {
    const double x = recall_->axis(QCPAxis::atBottom)->coordToPixel(density_ ? marker.density : marker.budget);
    for (const auto& [axis, value] :
         {std::pair{recall_, std::optional<double>(marker.captured)}, std::pair{kl_, marker.kl}}) {
      if (!value || !axis->realVisibility()) continue;
      const double distance =
          std::hypot(x - position.x(), axis->axis(QCPAxis::atLeft)->coordToPixel(*value) - position.y());
      if (distance < best) {
        best = distance;
        nearest = &marker;
      }
    }
  }
  if (!nearest) return QToolTip::hideText();
  QString text = tr("%1 (measured)\ncaptured mass %2, density %3")
                     .arg(nearest->title, format_percent(nearest->captured, 1), format_percent(nearest->density));
  if (nearest->kl) text += tr("\nKL to dense %1 nats").arg(format_number(*nearest->kl));
  if (nearest->ttft_ms) text += tr("\ntime to first token %1").arg(format_ms(*nearest->ttft_ms));
  QToolTip::showText(mapToGlobal(position.toPoint()), text, this);
}

}  // namespace headroom::views
