// SPDX-License-Identifier: GPL-3.0-or-later
// The Compare page as a figure and as numbers.
#include <QComboBox>
#include <QLabel>
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "views/common/format.h"
#include "views/compare/compare_chart.h"
#include "views/compare/compare_maps.h"
#include "views/compare/compare_page.h"
#include "views/map/attention_map_widget.h"
#include "views/overview/answer_cards.h"

namespace headroom::views {

QString ComparePage::scale_text() const {
  return maps_->pictured().empty() ? QString() : maps_->first()->scale_text();
}

bool ComparePage::complete() const {
  const auto maps = maps_->pictured();
  return !baseline_.method ||
         std::all_of(maps.begin(), maps.end(), [](const AttentionMapWidget* map) { return map->complete(); });
}

QString ComparePage::problem() const {
  if (!baseline_.method) return {};
  if (!chart_problem_.isEmpty()) return chart_problem_;
  for (const AttentionMapWidget* map : maps_->pictured())  // where none is combined the picture says so
    if (const QString why = map->problem(); !why.isEmpty()) return why;
  return {};
}

void ComparePage::exported() {
  for (AttentionMapWidget* map : maps_->pictured()) map->exported();
}

QString ComparePage::summary() const {
  return summary_text_;
}
QString ComparePage::title() const {
  return tr("Compare");
}

QString ComparePage::csv() const {
  if (!baseline_.method || series_.empty()) return {};
  QString text = csv_cell(QStringLiteral("baseline %1").arg(QString::fromStdString(baseline_.method->id)));
  for (const CompareSide& one : candidates_)
    text += ',' + csv_cell(QStringLiteral("candidate %1").arg(QString::fromStdString(one.method->id)));
  text = QStringLiteral("layer,head,") + text + QStringLiteral("\r\n");
  // A place that any candidate has a number for; one that has none there leaves its cell empty.
  struct Line {
    double baseline = std::numeric_limits<double>::quiet_NaN();
    std::vector<double> values;
  };
  std::map<std::pair<int, int>, Line> lines;
  for (std::size_t i = 0; i < series_.size(); ++i)
    for (const auto& point : series_[i].points) {
      Line& line = lines[{point.layer, point.head}];
      line.values.resize(series_.size(), std::numeric_limits<double>::quiet_NaN());
      if (std::isfinite(point.baseline)) line.baseline = point.baseline;
      line.values[i] = point.candidate;
    }
  const auto number = [](double value) { return std::isfinite(value) ? QString::number(value, 'g', 9) : QString(); };
  for (const auto& [place, line] : lines) {
    text += QStringLiteral("%1,%2,%3")
                .arg(place.first)
                .arg(place.second < 0 ? QString() : QString::number(place.second), number(line.baseline));
    for (const double value : line.values) text += ',' + number(value);
    text += QStringLiteral("\r\n");
  }
  return text;
}

QString ComparePage::aggregation_text() const {
  return maps_->pictured().empty() ? QString() : maps_->first()->aggregation_text();
}

void ComparePage::draw_text(Figure& figure, bool with_answers) const {
  QStringList names;
  for (const CompareSide& one : candidates_) names << side_name(one);
  figure.title(tr("%1 against %2").arg(names.join(tr(" and ")), side_name(baseline_)),
               run_caption(baseline_.run->meta(), baseline_.run->length()));
  if (with_answers) figure.html(answers_->html(), 0.9);
  if (const QString why = maps_->refusal(); !why.isEmpty())
    figure.html(tr("<b>Maps not combined.</b> %1").arg(why.toHtmlEscaped()), 0.9);
}

double ComparePage::wanted_height(double width, double least_text) {
  refresh_now();
  if (!selection()->record() || !baseline_.method) return 0;
  return figure_height(width, least_text, [this](Figure& figure) {
    draw_text(figure, true);
    const double unit = figure.unit();
    // Maps of which each is some 200 units wide or fills the width, as many in a row as that allows.
    const int count = static_cast<int>(maps_->pictured().size());
    const int columns = std::clamp(static_cast<int>(figure.rest().width() / (330 * unit)), 1, std::max(1, count));
    const double map = figure.rest().width() / columns + 60 * unit;
    figure.take_top(count == 0 ? 0 : std::min(map, 560 * unit) * ((count + columns - 1) / columns));
    figure.heading(quantity_box_->currentText());
    figure.html(summary_->text(), 0.9);
    figure.take_top(220 * unit);
  });
}

void ComparePage::render(QPainter& painter, const QRectF& target, const ExportOptions& options) {
  refresh_now();
  Figure figure(painter, target, options);
  if (!selection()->record() || !baseline_.method) return figure.title(title(), tr("No run is open"));
  // Where there is much too little height for all, on a slide with large text, the maps are what is compared.
  const bool maps_alone = target.height() < 0.6 * wanted_height(target.width(), options.least_text);
  draw_text(figure, !maps_alone);
  const double unit = figure.unit(), gap = 16 * unit;
  const auto maps = maps_->pictured();
  if (!maps.empty()) {
    // As many in a row as gives the largest squares; what stands around a square is about so wide and high.
    const QRectF rest = figure.rest();
    const double wide = 130 * unit, high = 170 * unit,
                 room = maps_alone
                            ? rest.height()
                            : std::max(rest.height() * 0.62, rest.height() - (maps.size() > 2 ? 250 : 320) * unit);
    const int count = static_cast<int>(maps.size());
    int columns = 1;
    double side = 0;
    for (int c = 1; c <= count; ++c) {
      const int rows = (count + c - 1) / c;
      const double fits = std::min((rest.width() - gap * (c - 1)) / c - wide, (room - gap * (rows - 1)) / rows - high);
      if (fits > side) side = fits, columns = c;
    }
    const double width = (rest.width() - gap * (columns - 1)) / columns;
    const double height = std::min(room, side + high);
    ExportOptions inner = options;
    inner.provenance.clear();
    inner.text_size = std::max(13 * unit, options.least_text);
    inner.square = true;
    for (int i = 0; i < count; ++i)
      maps[static_cast<std::size_t>(i)]->render(painter,
                                                QRectF(rest.left() + (i % columns) * (width + gap),
                                                       rest.top() + (i / columns) * (height + gap), width, height),
                                                inner);
    figure.take_top(((count + columns - 1) / columns) * (height + gap));
  }
  if (maps_alone && !maps.empty()) return;
  figure.heading(quantity_box_->currentText());
  figure.html(summary_->text(), 0.9);
  figure.plot(chart_, figure.rest());
}

}  // namespace headroom::views
