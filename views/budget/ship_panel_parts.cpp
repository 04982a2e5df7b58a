// SPDX-License-Identifier: GPL-3.0-or-later
// The widgets of "a number to ship", budgets by layer, their file and the figure.
#include <QComboBox>
#include <QDoubleSpinBox>
#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QSortFilterProxyModel>
#include <QSplitter>
#include <QStandardItemModel>
#include <QTableView>
#include <QVBoxLayout>
#include <exception>
#include <nlohmann/json.hpp>

#include "base/json_fields.h"
#include "views/budget/ship_panel.h"
#include "views/common/flow_layout.h"
#include "views/common/format.h"
#include "views/common/least_height.h"
#include "views/common/theme.h"
#include "views/common/workers.h"
#include "views/common/wrap_label.h"

namespace headroom::views {
namespace {

QStandardItem* layer_item(const QString& text, const QVariant& sort) {
  auto* item = new QStandardItem(text);
  item->setData(sort, Qt::UserRole);
  item->setTextAlignment(Qt::AlignRight | Qt::AlignVCenter);
  return item;
}

}  // namespace

void ShipPanel::build() {
  setObjectName("ship_panel");
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(8);
  auto* controls = new FlowLayout(nullptr, 8, 6);
  const auto box = [&](const QString& name, const char* id) {
    QComboBox* made = make_choice(name, id, this);
    controls->addWidget(made);
    return made;
  };
  const auto word = [&](const QString& text) {
    auto* label = new QLabel(text, this);
    controls->addWidget(label);
    return label;
  };
  const auto percent = [&](const QString& name, const char* id) {
    auto* made = new QDoubleSpinBox(this);
    made->setRange(1, 100);
    made->setDecimals(1);
    made->setSuffix(tr(" %"));
    made->setLocale(number_locale());
    made->setKeyboardTracking(false);
    made->setAccessibleName(name);
    made->setObjectName(id);
    style_field(made);
    controls->addWidget(made);
    return made;
  };
  word(tr("Smallest budget of"));
  family_ = box(tr("Method"), "ship_method");
  word(tr("that keeps at least"));
  keep_ = percent(tr("Share that must be kept"), "ship_keep");
  keep_of_ = word({});
  word(tr("and in the worst layer at least"));
  worst_ = percent(tr("Share of the mass that the worst layer must keep"), "ship_worst");
  word(tr("of the mass; by"));
  source_ = box(tr("What it is judged by"), "ship_source");
  task_ = box(tr("Task, or the mean of tasks"), "ship_task");
  length_ = box(tr("Length of the prompts"), "ship_length");
  column->addLayout(controls);

  headline_ = new TextLabel(this);
  headline_->setObjectName("ship_headline");
  headline_->setAccessibleName(tr("The number to ship"));
  headline_->setTextFormat(Qt::RichText);
  headline_->setWordWrap(true);
  headline_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  column->addWidget(headline_);
  auto* row = new QHBoxLayout;
  note_ = make_note({}, this);
  note_->setObjectName("ship_note");
  confirm_ = new QPushButton(tr("Confirm on fresh samples…"), this);
  confirm_->setObjectName("ship_confirm");
  row->addWidget(note_, 1);
  row->addWidget(confirm_, 0, Qt::AlignTop);
  column->addLayout(row);

  auto* splitter = new QSplitter(Qt::Horizontal, this);
  splitter->setChildrenCollapsible(false);
  table_ = new QTableView(splitter);
  table_->setObjectName("ship_table");
  style_table(table_);
  table_->setAccessibleName(tr("Budgets that were run, and what each keeps"));
  model_ = new QStandardItemModel(table_);
  sorted_ = new QSortFilterProxyModel(table_);
  sorted_->setSourceModel(model_);
  sorted_->setSortRole(Qt::UserRole);
  table_->setModel(sorted_);
  table_->setSortingEnabled(true);
  table_->sortByColumn(-1, Qt::AscendingOrder);
  table_->setMinimumSize(240, 120);
  splitter->addWidget(table_);
  splitter->addWidget(build_layers());
  splitter->setStretchFactor(0, 1);
  splitter->setStretchFactor(1, 0);
  splitter->setSizes({700, 290});
  column->addWidget(splitter, 1);
}

QWidget* ShipPanel::build_layers() {
  auto* side = new QWidget(this);
  auto* column = new QVBoxLayout(side);
  column->setContentsMargins(8, 0, 0, 0);
  column->setSpacing(6);
  auto* row = new FlowLayout(nullptr, 8, 4);
  row->addWidget(make_heading(tr("Budgets for each layer,"), side));
  mass_ = new QDoubleSpinBox(side);
  mass_->setObjectName("ship_mass");
  mass_->setRange(50, 99.9);
  mass_->setDecimals(1);
  mass_->setPrefix(tr("for "));
  mass_->setSuffix(tr(" % mass"));
  mass_->setLocale(number_locale());
  mass_->setKeyboardTracking(false);
  mass_->setAccessibleName(tr("Target mass recall of each layer"));
  style_field(mass_);
  row->addWidget(mass_);
  list_ = new QComboBox(side);
  list_->setObjectName("ship_list");
  list_->addItems({tr("each layer's smallest"), tr("same total, shared out")});
  list_->setAccessibleName(tr("How the budgets are chosen"));
  row->addWidget(list_);
  column->addLayout(row);
  layers_table_ = new QTableView(side);
  layers_table_->setObjectName("ship_layers");
  style_table(layers_table_);
  layers_ = new QStandardItemModel(0, 3, layers_table_);
  layers_->setHorizontalHeaderLabels({tr("layer"), tr("keys"), tr("mass")});
  layers_table_->setModel(layers_);
  layers_table_->horizontalHeader()->setDefaultAlignment(Qt::AlignRight | Qt::AlignVCenter);
  layers_table_->setAccessibleName(tr("Budget of each layer"));
  layers_table_->setMinimumHeight(100);
  column->addWidget(layers_table_, 1);
  layers_note_ = make_note({}, side);
  column->addWidget(layers_note_);
  auto* buttons = new FlowLayout(nullptr, 8, 4);
  write_ = new QPushButton(tr("Write budget file…"), side);
  write_->setObjectName("write_budgets");
  write_->setToolTip(tr("budget.json: what headroom run --layer-budgets and headroom sweep --layer-budgets take"));
  run_ = new QPushButton(tr("Run these budgets"), side);
  run_->setObjectName("run_layer_budgets");
  run_->setToolTip(
      tr("Runs them on the shown run's prompt, beside one budget for all layers that is as large in the mean"));
  buttons->addWidget(write_);
  buttons->addWidget(run_);
  column->addLayout(buttons);
  side->setMinimumWidth(270);
  new LeastHeight(side);
  return side;
}

void ShipPanel::write_file() {
  if (shown_layers_.empty()) return;
  nlohmann::json json;
  QString name = QStringLiteral("budget.json");
  if (from_runs()) {
    json = record::to_json(run_budgets_);
  } else {
    json = record::to_json(sweep_->record, sweep_->summary, *plan_.plan, sweep_->path.filename().string());
    name = QString::fromStdString(sweep_->path.stem().string()) + QStringLiteral("-budget.json");
  }
  emit write_budgets_requested(QByteArray::fromStdString(dump_json(json)) + '\n', name);
}

QString ShipPanel::headline() const {
  return headline_->text();
}
QAbstractItemModel* ShipPanel::model() const {
  return sorted_;
}

QString ShipPanel::csv() const {
  QString text;
  const auto line = [&](const auto& cell_of) {
    QStringList cells;
    for (int column = 0; column < sorted_->columnCount(); ++column) cells << csv_cell(cell_of(column));
    text += cells.join(',') + "\r\n";
  };
  line([&](int column) { return sorted_->headerData(column, Qt::Horizontal).toString(); });
  for (int row = 0; row < sorted_->rowCount(); ++row)
    line([&](int column) { return sorted_->index(row, column).data().toString(); });
  return text;
}

void ShipPanel::render(Figure& figure) {
  refresh();
  figure.title(tr("A number to ship"), source_->currentText());
  figure.html(headline_->text());
  figure.html(QStringLiteral("<span style=\"color:%1\">%2</span>")
                  .arg(Theme::instance().muted_text().name(), note_->text().toHtmlEscaped()),
              0.9);
  figure.table(*table_, figure.rest());
}

void ShipPanel::begin_plan() {
  if (from_runs()) return;
  const double mass = selection_->state().display.target / 100;
  const std::int64_t wanted = length();
  if (planning_.isRunning() || (plan_.sweep == sweep_ && plan_.mass == mass && plan_.length == wanted)) return;
  planning_.setFuture(in_worker([sweep = sweep_, mass, wanted] {
    Plan plan{sweep, mass, wanted, {}, {}};
    try {
      plan.plan = record::plan_budgets(sweep->record, {wanted, mass, {}});
    } catch (const std::exception& error) {
      plan.problem = QString::fromUtf8(error.what());
    }
    return plan;
  }));
}

void ShipPanel::show_layers() {
  shown_layers_.clear();
  const double mass = selection_->state().display.target / 100;
  if (from_runs()) {
    try {
      run_budgets_ = layer_budgets_of(runs(), mass);
      shown_layers_ = run_budgets_.layers;
      const auto count = run_budgets_.sources.size();
      layers_note_->setText(shown_layers_.empty()
                                ? tr("No open run holds mass curves.")
                                : (count == 1 ? tr("What this prompt needs.")
                                              : tr("By layer the most that any of %1 prompts needs.").arg(count)) +
                                      ' ' + tr("Computed from mass, not measured: run them to see."));
    } catch (const std::exception& error) {
      layers_note_->setText(QString::fromUtf8(error.what()));
    }
  } else if (plan_.sweep != sweep_ || plan_.mass != mass || plan_.length != length()) {
    layers_note_->setText(tr("Computing…"));
    begin_plan();  // what was asked for meanwhile
  } else if (!plan_.plan) {
    layers_note_->setText(plan_.problem);
  } else {
    const bool greedy = list_->currentIndex() == 1;
    shown_layers_ = greedy ? plan_.plan->greedy : plan_.plan->by_mass;
    layers_note_->setText(
        greedy ? tr("%1 keys a layer in the mean keep %2 of the mass so, %3 as one budget for all. Computed, not "
                    "measured: run them to see.")
                     .arg(format_count(plan_.plan->keys), format_percent(plan_.plan->greedy_mass, 1),
                          format_percent(plan_.plan->uniform_mass, 1))
               : tr("%1 keys a layer in the mean, from the curves of %2%3. Computed from mass, not measured: run them "
                    "to see.")
                     .arg(format_count(plan_.plan->keys),
                          plan_.plan->samples == 1 ? tr("1 prompt") : tr("%1 prompts").arg(plan_.plan->samples),
                          plan_.plan->held_out ? tr(", never scored") : QString()));
  }
  fill_layers(shown_layers_);
}

void ShipPanel::fill_layers(const std::vector<record::LayerBudget>& layers) {
  layers_->removeRows(0, layers_->rowCount());
  for (const auto& one : layers)
    layers_->appendRow({layer_item(QString::number(one.layer), one.layer),
                        layer_item(format_count(one.keys), qlonglong(one.keys)),
                        layer_item(format_percent(one.mass, 1), one.mass)});
  fit_table(layers_table_);
  write_->setEnabled(!layers.empty());
  run_->setEnabled(!layers.empty());
}

}  // namespace headroom::views
