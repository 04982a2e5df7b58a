// SPDX-License-Identifier: GPL-3.0-or-later
// The Budget page as a figure and as numbers.
#include <cmath>

#include <QComboBox>
#include <QLabel>
#include <QSortFilterProxyModel>

#include "views/budget/budget_page.h"
#include "views/budget/budget_plot.h"
#include "views/budget/ship_panel.h"
#include "views/budget/sweep_panel.h"
#include "views/common/format.h"

namespace headroom::views {

QString BudgetPage::source_text() const {
  const SweepPtr sweep = selection()->sweep();
  const ViewState& state = selection()->state();
  const bool of_runs = part() == 2 && (!sweep || (state.sweep_look.ship_from_runs && selection()->record()));
  if (part() == 0 || (part() == 1 && !sweep)) return {};
  if (of_runs) {
    QStringList names;
    for (const RecordPtr& run : state.runs) names << QString::fromStdString(run->path().filename().string());
    return tr("open runs: %1").arg(names.join(", "));
  }
  const record::SweepMeta& meta = sweep->record.meta;
  return tr("sweep %1 of %2 (%3), made %4")
      .arg(QString::fromStdString(sweep->path.filename().string()), QString::fromStdString(meta.model_name),
           QString::fromStdString(meta.model_sha256.substr(0, 12)), QString::fromStdString(meta.created));
}

QString BudgetPage::suggestions_csv() const {
  QString text = QStringLiteral("layer,keys,density,worst_head_mass_recall\r\n");
  for (int row = 0; row < sorted_->rowCount(); ++row) {
    QStringList cells;
    for (int column = 0; column < sorted_->columnCount(); ++column)
      cells << QString::number(sorted_->index(row, column).data(Qt::UserRole).toDouble(), 'g', 7);
    text += cells.join(',') + "\r\n";
  }
  return text;
}

QString BudgetPage::title() const {
  return tr("Budget");
}

QString BudgetPage::csv() const {
  if (part() == 1) return sweep_->csv();
  if (part() == 2) return ship_->csv();
  if (!record_) return {};
  if (curves_.empty()) return {};
  QString text = QStringLiteral("kind,name,budget,density,mean,p10,low,worst_head,kl_to_dense\r\n");
  for (std::size_t i = 0; i < curves_.budgets.size(); ++i)
    text += QStringLiteral("mass recall,%1,%2,%3,%4,%5,%6,%7,\r\n")
                .arg(csv_cell(beside_.empty() ? stream_->currentText() : tr("dense stream")),
                     QString::number(curves_.budgets[i]),
                     QString::number(density_of(record_->length(), curves_.budgets[i]), 'g', 7),
                     QString::number(curves_.mean[i], 'g', 7), QString::number(curves_.p10[i], 'g', 7),
                     QString::number(curves_.low[i], 'g', 7), QString::number(curves_.worst_head[i], 'g', 7));
  for (const BesideCurve& other : beside_)
    for (std::size_t i = 0; i < other.curves.budgets.size(); ++i)
      text += QStringLiteral("mass recall,%1,%2,%3,%4,%5,%6,%7,\r\n")
                  .arg(csv_cell(other.name), QString::number(other.curves.budgets[i]),
                       QString::number(density_of(other.length, other.curves.budgets[i]), 'g', 7),
                       QString::number(other.curves.mean[i], 'g', 7), QString::number(other.curves.p10[i], 'g', 7),
                       QString::number(other.curves.low[i], 'g', 7),
                       QString::number(other.curves.worst_head[i], 'g', 7));
  for (const auto& method : record_->methods()) {
    const auto keys = budget_keys(method);
    if (!keys) continue;
    text +=
        QStringLiteral("measured captured mass,%1,%2,%3,%4,,%5,,%6\r\n")
            .arg(QString::fromStdString(method.id), QString::number(*keys), QString::number(method.density, 'g', 7),
                 QString::number(method.captured_mass_mean, 'g', 7), QString::number(method.captured_mass_min, 'g', 7),
                 method.answer_kl() ? QString::number(*method.answer_kl(), 'g', 7) : QString());
  }
  return text;
}

void BudgetPage::draw_text(Figure& figure) const {
  figure.title(tr("How much mass does a budget keep?"), run_caption(record_->meta(), record_->length()));
  figure.html(QStringLiteral("<b>%1</b> &nbsp; %2 %3 · %4 %5 · %6 %7")
                  .arg(headline_->text(), tr("mass recall"), mean_.value->text(), low_.name->text(), low_.value->text(),
                       tr("worst head"), worst_head_.value->text()));
  figure.html(source_->text(), 0.9);
  figure.html(plot_->legend_html(), 0.9);
}

double BudgetPage::wanted_height(double width, double least_text) {
  refresh_now();
  if (!record_ || part() != 0) return 0;
  return figure_height(width, least_text, [this](Figure& figure) {
    draw_text(figure);
    figure.take_top(280 * figure.unit());
    figure.html(one_prompt_html(*record_, selection()->state()), 0.9);
  });
}

void BudgetPage::render(QPainter& painter, const QRectF& target, const ExportOptions& options) {
  refresh_now();
  Figure figure(painter, target, options);
  if (part() == 1 && selection()->sweep()) return sweep_->render(figure);
  if (part() == 2) return ship_->render(figure);
  if (!record_) return figure.title(title(), tr("No run is open"));
  draw_text(figure);
  const QString hints = one_prompt_html(*record_, selection()->state());
  const QRectF rest = figure.rest();
  const double below = figure.html_height(hints, 0.9) + 16 * figure.unit();
  figure.plot(plot_, rest.adjusted(0, 0, 0, -below));
  figure.take_top(rest.height() - below + 8 * figure.unit());
  figure.html(hints, 0.9);
}

}  // namespace headroom::views
