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
#include <QTabBar>
#include <QTabWidget>
#include <QTableView>
#include <algorithm>

#include "views/budget/budget_page.h"
#include "views/budget/budget_plot.h"
#include "views/budget/ship_panel.h"
#include "views/budget/sweep_panel.h"
#include "views/common/flow_layout.h"
#include "views/common/format.h"
#include "views/common/give_way.h"
#include "views/common/shown_part.h"
#include "views/common/theme.h"
#include "views/common/wrap_label.h"

namespace headroom::views {

void BudgetPage::build() {
  setAccessibleName(tr("Budget"));
  set_empty_text(tr("No run and no sweep is open"),
                 tr("Open a record or a sweep with <b>Open run…</b>, drop a <i>.h5</i> file here, or start <b>New "
                    "run…</b> or <b>New sweep…</b>."));
  body()->setBackgroundRole(QPalette::Base);
  body()->setAutoFillBackground(true);
  auto* page = new QVBoxLayout(body());
  page->setContentsMargins(16, 8, 16, 12);
  page->setSpacing(8);
  tabs_ = new QTabBar(body());
  tabs_->setObjectName("budget_tabs");
  tabs_->setAccessibleName(tr("What the Budget page shows"));
  tabs_->setDrawBase(false);
  tabs_->setExpanding(false);
  tabs_->addTab(tr("This run"));
  tabs_->addTab(tr("Sweep"));
  tabs_->addTab(tr("A number to ship"));
  tabs_->setTabToolTip(0, tr("How much mass a budget keeps on this prompt, and what was measured on it"));
  tabs_->setTabToolTip(1, tr("What budgets cost over many samples, with intervals"));
  tabs_->setTabToolTip(2, tr("The smallest budget that meets two targets; budgets for each layer"));
  page->addWidget(tabs_);
  parts_ = new ShownPart(body());
  page->addWidget(parts_, 1);
  run_body_ = new QWidget(parts_);
  parts_->addWidget(run_body_);
  sweep_ = new SweepPanel(selection(), parts_);
  parts_->addWidget(sweep_);
  ship_ = new ShipPanel(selection(), parts_);
  parts_->addWidget(ship_);
  parts_->addWidget(build_nothing());
  build_run();
}

/// What stands in the place of a part that has nothing to show.
QWidget* BudgetPage::build_nothing() {
  auto* nothing = new QWidget(parts_);
  auto* column = new QVBoxLayout(nothing);
  nothing_ = new TextLabel(nothing);
  nothing_->setObjectName("budget_nothing");
  nothing_->setAlignment(Qt::AlignCenter);
  nothing_->setWordWrap(true);
  nothing_->setTextFormat(Qt::RichText);
  auto* begin = new QPushButton(tr("New sweep…"), nothing);
  connect(begin, &QPushButton::clicked, this, &BudgetPage::new_sweep_requested);
  column->addStretch(1);
  column->addWidget(nothing_);
  column->addWidget(begin, 0, Qt::AlignHCenter);
  column->addStretch(2);
  return nothing;
}

void BudgetPage::build_run() {
  auto* column = new QVBoxLayout(run_body_);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(8);

  auto* budget_row = new QHBoxLayout;
  budget_row->setSpacing(8);
  budget_row->addWidget(make_heading(tr("Budget"), run_body_));
  unit_ = new QComboBox(run_body_);
  unit_->addItems({tr("tokens"), tr("% of prompt"), tr("mean mass")});
  unit_->setAccessibleName(tr("Unit of the budget"));
  slider_ = new QSlider(Qt::Horizontal, run_body_);
  slider_->setRange(0, 2000);
  slider_->setPageStep(100);
  slider_->setSingleStep(5);
  slider_->setAccessibleName(tr("Budget, logarithmic"));
  spin_ = new QDoubleSpinBox(run_body_);
  spin_->setGroupSeparatorShown(true);
  spin_->setLocale(number_locale());
  spin_->setMinimumWidth(120);
  style_field(spin_);
  spin_->setKeyboardTracking(false);
  spin_->setAccessibleName(tr("Budget"));
  run_ = new QPushButton(run_body_);
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
  stream_ = new QComboBox(run_body_);
  stream_->setAccessibleName(tr("Stream of the mass curves"));
  stream_->setObjectName("curve_stream");
  scope_ = new QComboBox(run_body_);
  scope_->setAccessibleName(tr("Layers of the mass curves"));
  axis_ = new QComboBox(run_body_);
  axis_->addItems({tr("against keys"), tr("against density")});
  axis_->setAccessibleName(tr("Horizontal axis"));
  for (QComboBox* box : {stream_, scope_, axis_}) {
    box->setSizeAdjustPolicy(QComboBox::AdjustToContents);
    view_row->addWidget(box);
    give_way({box});
  }
  left->addLayout(view_row);
  source_ = make_note(QString(), run_body_);
  left->addWidget(source_);
  give_way({tabs_, run_, source_});
  legend_ = new TextLabel(run_body_);
  legend_->setWordWrap(true);
  legend_->setTextFormat(Qt::RichText);
  legend_->setAccessibleName(tr("Lines and markers"));
  left->addWidget(legend_);
  plot_ = new BudgetPlot(run_body_);
  plot_->setMinimumSize(340, 220);
  left->addWidget(plot_, 1);
  middle->addLayout(left, 1);
  middle->addWidget(build_side());
  column->addLayout(middle, 1);

  one_prompt_ = new TextLabel(run_body_);
  one_prompt_->setWordWrap(true);
  one_prompt_->setTextFormat(Qt::RichText);
  one_prompt_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  one_prompt_->setAccessibleName(tr("What one prompt can say of the gaps"));
  column->addWidget(one_prompt_);
}

QWidget* BudgetPage::build_side() {
  auto* side = side_ = new QWidget(run_body_);
  side->setFixedWidth(side_width());
  auto* column = new QVBoxLayout(side);
  QVBoxLayout* const outer = column;
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
  knee_cost_ = make_note(QString(), side);
  knee_cost_->setObjectName("knee_cost");
  column->addWidget(knee_cost_);

  auto* tables = new QTabWidget(side);
  tables->setObjectName("budget_tables");
  tables->setDocumentMode(true);
  measured_table_ = new QTableView(tables);
  style_table(measured_table_);
  measured_ = new QStandardItemModel(0, 6, measured_table_);
  measured_->setHorizontalHeaderLabels(
      {tr("method"), tr("keys"), tr("TTFT"), tr("mass"), tr("worst layer"), tr("KL, nats")});
  auto* measured_sorted = new QSortFilterProxyModel(measured_table_);
  measured_sorted->setSourceModel(measured_);
  measured_sorted->setSortRole(Qt::UserRole);
  measured_table_->setModel(measured_sorted);
  measured_table_->setSortingEnabled(true);
  measured_table_->sortByColumn(-1, Qt::AscendingOrder);
  measured_table_->setAccessibleName(tr("What was run on this prompt: time to first token and mass kept"));
  measured_table_->setObjectName("budget_measured");
  tables->addTab(measured_table_, tr("Measured"));
  auto* by_layer = new QWidget(tables);
  tables->addTab(by_layer, tr("By layer"));
  outer->addWidget(tables, 1);
  give_way({tables});
  column = new QVBoxLayout(by_layer);
  column->setContentsMargins(0, 6, 0, 0);
  column->setSpacing(6);
  auto* target_row = new QHBoxLayout;
  target_row->setSpacing(8);
  target_row->addWidget(make_heading(tr("For"), side));
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
  auto* buttons = new FlowLayout(nullptr, 8, 4);
  auto* write = new QPushButton(tr("Write budget file…"), side);
  write->setObjectName("write_run_budgets");
  write->setToolTip(tr("budget.json: what headroom run --layer-budgets takes"));
  auto* run = new QPushButton(tr("Run these budgets"), side);
  run->setObjectName("run_run_budgets");
  run->setToolTip(tr("Runs them on this prompt, beside one budget for all layers that is as large in the mean"));
  buttons->addWidget(write);
  buttons->addWidget(run);
  column->addLayout(buttons);
  connect(write, &QPushButton::clicked, this, [this] {
    if (record_) emit write_budgets_requested(budgets_json(), QStringLiteral("budget.json"));
  });
  connect(run, &QPushButton::clicked, this, [this] {
    const auto budgets = record_ ? layer_budgets_of({record_}, target_->value() / 100) : record::RunBudgets{};
    if (!budgets.layers.empty())
      emit run_layer_budgets_requested(
          to_layer_budgets(budgets.layers, budgets.model_sha256, record_->path().filename().string()));
  });
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
    QString text = nats ? QObject::tr("KL to dense %1 nats").arg(format_number(*nats)) : QObject::tr("no KL recorded");
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
