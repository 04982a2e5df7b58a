// SPDX-License-Identifier: GPL-3.0-or-later
// The Budget page's widgets, and its words on what one prompt can say.
#include <QClipboard>
#include <QComboBox>
#include <QDoubleSpinBox>
#include <QGridLayout>
#include <QGuiApplication>
#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QScrollArea>
#include <QSlider>
#include <QSortFilterProxyModel>
#include <QStandardItemModel>
#include <QTableView>
#include <algorithm>

#include "views/budget/budget_page.h"
#include "views/budget/budget_plot.h"
#include "views/common/flow_layout.h"
#include "views/common/format.h"
#include "views/common/theme.h"

namespace headroom::views {

void BudgetPage::build() {
  setAccessibleName(tr("Budget"));
  body()->setBackgroundRole(QPalette::Base);
  body()->setAutoFillBackground(true);
  auto* column = new QVBoxLayout(body());
  column->setContentsMargins(16, 16, 16, 12);
  column->setSpacing(8);

  auto* budget_row = new QHBoxLayout;
  budget_row->setSpacing(8);
  budget_row->addWidget(make_heading(tr("Budget"), body()));
  unit_ = new QComboBox(body());
  unit_->addItems({tr("tokens"), tr("% of prompt"), tr("mean mass")});
  unit_->setAccessibleName(tr("Unit of the budget"));
  slider_ = new QSlider(Qt::Horizontal, body());
  slider_->setRange(0, 2000);
  slider_->setPageStep(100);
  slider_->setSingleStep(5);
  slider_->setAccessibleName(tr("Budget, logarithmic"));
  spin_ = new QDoubleSpinBox(body());
  spin_->setGroupSeparatorShown(true);
  spin_->setLocale(number_locale());
  spin_->setMinimumWidth(120);
  style_field(spin_);
  spin_->setKeyboardTracking(false);
  spin_->setAccessibleName(tr("Budget"));
  run_ = new QPushButton(body());
  run_->setToolTip(tr("Run the oracle and the indexer at this budget on the same prompt: adds measured markers"));
  budget_row->addWidget(unit_);
  budget_row->addWidget(slider_, 1);
  budget_row->addWidget(spin_);
  budget_row->addWidget(run_);
  column->addLayout(budget_row);

  auto* middle = new QHBoxLayout;
  middle->setSpacing(16);
  auto* left = new QVBoxLayout;
  left->setSpacing(8);
  auto* view_row = new FlowLayout(nullptr, 8, 6);
  stream_ = new QComboBox(body());
  stream_->setAccessibleName(tr("Stream of the mass curves"));
  scope_ = new QComboBox(body());
  scope_->setAccessibleName(tr("Layers of the mass curves"));
  axis_ = new QComboBox(body());
  axis_->addItems({tr("against keys"), tr("against density")});
  axis_->setAccessibleName(tr("Horizontal axis"));
  for (QComboBox* box : {stream_, scope_, axis_}) {
    box->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    view_row->addWidget(box);
  }
  left->addLayout(view_row);
  source_ = make_note(QString(), body());
  left->addWidget(source_);
  legend_ = new QLabel(body());
  legend_->setWordWrap(true);
  legend_->setTextFormat(Qt::RichText);
  legend_->setAccessibleName(tr("Lines and markers"));
  left->addWidget(legend_);
  plot_ = new BudgetPlot(body());
  plot_->setMinimumSize(340, 220);
  left->addWidget(plot_, 1);
  middle->addLayout(left, 1);
  middle->addWidget(build_side());
  column->addLayout(middle, 1);

  one_prompt_ = new QLabel(body());
  one_prompt_->setWordWrap(true);
  one_prompt_->setTextFormat(Qt::RichText);
  one_prompt_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  one_prompt_->setAccessibleName(tr("What one prompt can say of the gaps"));
  column->addWidget(one_prompt_);
}

QWidget* BudgetPage::build_side() {
  auto* side = side_ = new QWidget(body());
  side->setFixedWidth(side_width());
  auto* column = new QVBoxLayout(side);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(8);
  headline_ = make_heading(QString(), side);
  headline_->setWordWrap(true);
  column->addWidget(headline_);

  auto* grid = new QGridLayout;
  grid->setHorizontalSpacing(12);
  grid->setVerticalSpacing(4);
  int line = 0;
  const auto add = [&](Row& row, const QString& name, const QString& tip, int column_pair) {
    row.name = make_note(name, side);
    row.name->setWordWrap(false);
    row.value = new QLabel(side);
    row.value->setAlignment(Qt::AlignRight | Qt::AlignVCenter);
    row.value->setTextInteractionFlags(Qt::TextSelectableByMouse);
    row.value->setAccessibleName(name);
    for (QLabel* label : {row.name, row.value}) label->setToolTip("<qt>" + tip + "</qt>");
    grid->addWidget(row.name, line, column_pair * 2);
    grid->addWidget(row.value, line, column_pair * 2 + 1);
    ++line;
  };
  add(mean_, tr("mass recall"),
      tr("Share of the head-averaged mass on the k keys that hold most of it; mean over rows with more "
         "history than k, and over layers."),
      0);
  add(p10_, tr("p10 row"), tr("One row in ten keeps less than this; of all layers: in the layer where that is least."),
      0);
  add(low_, tr("worst layer"), tr("The layer (or, for one layer, the row) that keeps least."), 0);
  add(worst_head_, tr("worst head"), tr("Smallest share of a head's own probabilities on the shared keys."), 0);
  line = 0;
  add(knee_, tr("knee"), tr("Where the mean curve bends most: more keys bring less from here on."), 1);
  add(for_90_, tr("90 % at"), tr("Smallest budget whose mean mass recall reaches 90 %."), 1);
  add(for_95_, tr("95 % at"), tr("Smallest budget whose mean mass recall reaches 95 %."), 1);
  add(for_99_, tr("99 % at"), tr("Smallest budget whose mean mass recall reaches 99 %."), 1);
  grid->setColumnStretch(1, 1);
  grid->setColumnStretch(3, 1);
  column->addLayout(grid);

  auto* target_row = new QHBoxLayout;
  target_row->setSpacing(8);
  target_row->addWidget(make_heading(tr("Per layer, for"), side));
  target_ = new QDoubleSpinBox(side);
  target_->setRange(50, 99.9);
  target_->setDecimals(1);
  style_field(target_);
  target_->setValue(95);
  target_->setSuffix(tr(" % mass"));
  target_->setLocale(number_locale());
  target_->setAccessibleName(tr("Target mass recall of each layer"));
  target_row->addWidget(target_);
  target_row->addStretch(1);
  auto* copy = new QPushButton(tr("Copy CSV"), side);
  connect(copy, &QPushButton::clicked, this, [this] { QGuiApplication::clipboard()->setText(suggestions_csv()); });
  target_row->addWidget(copy);
  column->addSpacing(4);
  column->addLayout(target_row);

  table_ = new QTableView(side);
  style_table(table_);
  model_ = new QStandardItemModel(0, 4, this);
  model_->setHorizontalHeaderLabels({tr("layer"), tr("keys"), tr("of pairs"), tr("worst head")});
  sorted_ = new QSortFilterProxyModel(this);
  sorted_->setSourceModel(model_);
  sorted_->setSortRole(Qt::UserRole);
  table_->setModel(sorted_);
  table_->setSortingEnabled(true);
  table_->sortByColumn(0, Qt::AscendingOrder);
  table_->horizontalHeader()->setStretchLastSection(true);
  table_->horizontalHeader()->setDefaultAlignment(Qt::AlignRight | Qt::AlignVCenter);
  table_->setAccessibleName(tr("Suggested budget of each layer"));
  table_->setMinimumHeight(120);
  column->addWidget(table_, 1);
  total_ = make_note(QString(), side);
  column->addWidget(total_);
  return side;
}

int BudgetPage::side_width() const {
  return std::max(312, fontMetrics().height() * 20);
}

QString one_prompt_html(const record::RunRecord& record, const ViewState& state) {
  MethodPtr oracle = nullptr, indexer = nullptr, shared = nullptr;
  for (const MethodPtr method : methods_near_budget(record, state)) {
    if (method->role == MethodRole::reference && method->score == ScoreKind::mass && !oracle) oracle = method;
    if (method->score == ScoreKind::index && !indexer) indexer = method;
  }
  for (const auto& method : record.methods())
    if (indexer && method.name == indexer->name && method.parameters == indexer->parameters &&
        method.granularity > indexer->granularity && method.budget == indexer->budget)
      shared = &method;
  const auto kl = [](MethodPtr method) {
    const auto nats = method->answer_kl();
    QString text = nats ? QObject::tr("KL to dense %1 nats").arg(format_number(*nats))
                        : QObject::tr("no KL recorded");
    if (method->top1_agrees)
      text += *method->top1_agrees ? QObject::tr(", same top token") : QObject::tr(", another top token");
    return text;
  };
  const auto captured = [](MethodPtr from, MethodPtr to) {
    const double points = (to->captured_mass_mean - from->captured_mass_mean) * 100;
    return QObject::tr("captured mass %1 → %2 (%3%4 points)")
        .arg(format_percent(from->captured_mass_mean, 1), format_percent(to->captured_mass_mean, 1),
             points < 0 ? QStringLiteral("−") : QStringLiteral("+"), format_fixed(std::abs(points), 1));
  };
  QString feasibility = QObject::tr("run the oracle to see"),
          choice = QObject::tr("run the oracle and the indexer at one budget to see"),
          realization = QObject::tr("run the indexer to see");
  if (oracle) feasibility = kl(oracle);
  if (oracle && indexer && oracle->budget == indexer->budget) {
    choice = captured(oracle, indexer);
    if (oracle->answer_kl() && indexer->answer_kl())
      choice += QObject::tr("; KL %1 → %2 nats")
                    .arg(format_number(*oracle->answer_kl()), format_number(*indexer->answer_kl()));
  } else if (oracle && indexer) {
    choice = QObject::tr("the two were run at different budgets");
  }
  if (shared) {
    realization = QObject::tr("shared by %1 queries: %2").arg(shared->granularity).arg(captured(indexer, shared));
  } else if (indexer && indexer->granularity == 1) {
    realization = QObject::tr("0 by construction: per-query supports are executed exactly");
  } else if (indexer) {
    realization = QObject::tr("run granularity 1 as well to see");
  }
  const QString muted = Theme::instance().muted_text().name();
  const auto row = [&](const QString& name, const QString& pair, const QString& value) {
    return QStringLiteral(
               "<tr><td><b>%1</b>&nbsp;&nbsp;</td><td style=\"color:%2\">%3&nbsp;&nbsp;&nbsp;</td><td>%4</td></tr>")
        .arg(name, muted, pair, value);
  };
  return QStringLiteral(
             "<b>%1</b> <span style=\"color:%2\">%3</span><table cellspacing=\"0\" cellpadding=\"0\">%4%5%6</table>")
      .arg(QObject::tr("What one prompt can say of the three gaps."), muted,
           QObject::tr(
               "The gaps are differences of task score over many samples; these are hints from this prompt alone."),
           row(QObject::tr("Feasibility"), QObject::tr("dense → oracle"), feasibility),
           row(QObject::tr("Indexer"), QObject::tr("oracle → indexer"), choice),
           row(QObject::tr("Realization"), QObject::tr("per query → as executed"), realization));
}

}  // namespace headroom::views
