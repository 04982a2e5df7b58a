// SPDX-License-Identifier: GPL-3.0-or-later
// The sweep panel's widgets and its tables of methods and samples.
#include <QComboBox>
#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QScrollArea>
#include <QSignalBlocker>
#include <QSortFilterProxyModel>
#include <QSplitter>
#include <QStandardItemModel>
#include <QTabWidget>
#include <QTableView>
#include <QVBoxLayout>
#include <map>

#include "views/budget/gap_waterfall.h"
#include "views/budget/sweep_panel.h"
#include "views/budget/sweep_plot.h"
#include "views/common/flow_layout.h"
#include "views/common/format.h"
#include "views/common/give_way.h"
#include "views/common/record_queries.h"
#include "views/common/theme.h"
#include "views/common/wrap_label.h"

namespace headroom::views {
namespace {

QStandardItem* cell_item(const QString& text, const QVariant& sort, bool number = true) {
  auto* item = new QStandardItem(text);
  item->setData(sort, Qt::UserRole);
  if (number) item->setTextAlignment(Qt::AlignRight | Qt::AlignVCenter);
  return item;
}

QTableView* make_sorted_table(QWidget* parent, const QStringList& headers, QStandardItemModel*& model,
                              QSortFilterProxyModel*& sorted, const QString& name) {
  auto* table = new QTableView(parent);
  style_table(table);
  table->setSelectionMode(QAbstractItemView::SingleSelection);
  model = new QStandardItemModel(0, static_cast<int>(headers.size()), table);
  model->setHorizontalHeaderLabels(headers);
  sorted = new QSortFilterProxyModel(table);
  sorted->setSourceModel(model);
  sorted->setSortRole(Qt::UserRole);
  table->setModel(sorted);
  table->setSortingEnabled(true);
  table->sortByColumn(-1, Qt::AscendingOrder);
  table->setAccessibleName(name);
  return table;
}

QString one_line(const std::string& text) {
  return QString::fromStdString(text).simplified();
}

}  // namespace

void SweepPanel::build() {
  setObjectName("sweep_panel");
  auto* column = new QVBoxLayout(this);
  column->setContentsMargins(0, 0, 0, 0);
  column->setSpacing(6);
  auto* controls = new FlowLayout(nullptr, 8, 6);
  const auto box = [&](const QString& name, const char* id) { return make_choice(name, id, this); };
  sweeps_ = box(tr("Open sweeps"), "sweeps");
  task_ = box(tr("Task, or the mean of tasks"), "sweep_task");
  length_ = box(tr("Length of the prompts"), "sweep_length");
  quantity_ = box(tr("Vertical axis"), "sweep_quantity");
  quantity_->addItem(tr("difference from dense"), 0);
  quantity_->addItem(tr("task score"), 1);
  quantity_->addItem(tr("KL to dense"), 2);
  axis_ = box(tr("Horizontal axis"), "sweep_axis");
  axis_->addItems({tr("against density"), tr("against keys")});
  new_sweep_ = new QPushButton(tr("New sweep…"), this);
  for (QWidget* widget : std::initializer_list<QWidget*>{sweeps_, task_, length_, quantity_, axis_, new_sweep_})
    controls->addWidget(widget);
  // Task, length and quantity say what is shown; the rest is for who works with it.
  give_way({new_sweep_});
  column->addLayout(controls);
  facts_ = make_note({}, this);
  facts_->setObjectName("sweep_facts");
  alarms_ = new TextLabel(this);
  alarms_->setObjectName("sweep_alarms");
  alarms_->setWordWrap(true);
  alarms_->setAutoFillBackground(true);
  alarms_->setContentsMargins(8, 4, 8, 4);
  alarms_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  auto* verdict_row = new QHBoxLayout;
  verdicts_ = new TextLabel(this);
  verdicts_->setObjectName("sweep_verdicts");
  verdicts_->setWordWrap(true);
  verdicts_->setTextFormat(Qt::RichText);
  verdicts_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  confirm_ = new QPushButton(tr("Confirm…"), this);
  confirm_->setObjectName("confirm_sweep");
  confirm_->setToolTip(
      tr("The same sweep with seeds that were not used: what is chosen on samples must be confirmed on others"));
  verdict_row->addWidget(verdicts_, 1);
  verdict_row->addWidget(confirm_, 0, Qt::AlignTop);
  column->addWidget(facts_);
  column->addWidget(alarms_);
  column->addLayout(verdict_row);
  auto* splitter = new QSplitter(Qt::Vertical, this);
  splitter->setChildrenCollapsible(false);
  splitter->addWidget(build_top());
  splitter->addWidget(build_tables());
  give_way({tabs_, confirm_, facts_});
  splitter->setStretchFactor(0, 3);
  splitter->setStretchFactor(1, 2);
  splitter->setSizes({480, 250});  // of what there is: the picture first
  column->addWidget(splitter, 1);
}

QWidget* SweepPanel::build_top() {
  auto* top = new QSplitter(Qt::Horizontal, this);
  top->setChildrenCollapsible(false);
  auto* left = new QWidget(top);
  auto* left_column = new QVBoxLayout(left);
  left_column->setContentsMargins(0, 0, 0, 0);
  left_column->setSpacing(4);
  legend_ = new TextLabel(left);
  legend_->setWordWrap(true);
  legend_->setTextFormat(Qt::RichText);
  legend_->setAccessibleName(tr("Markers and lines"));
  plot_ = new SweepPlot(left);
  plot_->setMinimumWidth(260);
  left_column->addWidget(legend_);
  left_column->addWidget(plot_, 1);
  auto* right = new QWidget(top);
  auto* right_column = new QVBoxLayout(right);
  right_column->setContentsMargins(8, 0, 0, 0);
  auto* row = new QHBoxLayout;
  row->addWidget(make_heading(tr("Where the points go"), right));
  budget_ = make_choice(tr("Budget of the waterfall"), "sweep_budget", right);
  row->addWidget(budget_);
  row->addStretch(1);
  right_column->addLayout(row);
  auto* scroll = new QScrollArea(right);
  scroll->setWidgetResizable(true);
  scroll->setFrameShape(QFrame::NoFrame);
  scroll->setHorizontalScrollBarPolicy(Qt::ScrollBarAlwaysOff);
  scroll->viewport()->setAutoFillBackground(false);
  waterfall_ = new GapWaterfall(scroll);
  scroll->setWidget(waterfall_);
  waterfall_->setAutoFillBackground(false);
  right_column->addWidget(scroll, 1);
  right->setMinimumWidth(230);
  top->addWidget(left);
  top->addWidget(right);
  top->setStretchFactor(0, 3);
  top->setStretchFactor(1, 2);
  return top;
}

QWidget* SweepPanel::build_tables() {
  tabs_ = new QTabWidget(this);
  tabs_->setObjectName("sweep_tabs");
  tabs_->setDocumentMode(true);
  methods_table_ = make_sorted_table(this,
                                     {tr("method"), tr("keys"), tr("of pairs"), tr("samples"), tr("score"),
                                      tr("from dense"), tr("verdict"), tr("KL"), tr("flips"), tr("same answer")},
                                     methods_, sorted_methods_, tr("What each method and budget scored"));
  methods_table_->setObjectName("sweep_methods");
  gaps_table_ = make_sorted_table(this, {tr("task"), tr("dense"), tr("feasibility"), tr("indexer"), tr("realization")},
                                  gaps_, sorted_gaps_, tr("The three gaps of each task, in points"));
  gaps_table_->setObjectName("sweep_gaps");
  auto* samples = new QWidget(this);
  auto* column = new QVBoxLayout(samples);
  column->setContentsMargins(0, 4, 0, 0);
  column->setSpacing(4);
  auto* row = new QHBoxLayout;
  method_ = new QComboBox(samples);
  method_->setObjectName("sweep_method");
  method_->setAccessibleName(tr("Method whose samples are listed"));
  method_->setSizeAdjustPolicy(QComboBox::AdjustToMinimumContentsLengthWithIcon);
  method_->setMinimumContentsLength(22);
  sample_note_ = make_note({}, samples);
  record_ = new QPushButton(tr("Record this sample"), samples);
  record_->setObjectName("record_sample");
  record_->setToolTip(tr(
      "Runs the sample's prompt under dense and this method and records it: its attention maps can then be looked at"));
  row->addWidget(method_);
  row->addWidget(sample_note_, 1);
  row->addWidget(record_);
  column->addLayout(row);
  samples_table_ = make_sorted_table(samples,
                                     {tr("task"), tr("length"), tr("seed"), tr("tokens"), tr("score"), tr("dense"),
                                      tr("KL"), tr("differs at"), tr("answer")},
                                     samples_, sorted_samples_, tr("Samples of the chosen method"));
  samples_table_->setObjectName("sweep_samples");
  column->addWidget(samples_table_, 1);
  answers_ = new TextLabel(samples);
  answers_->setObjectName("sweep_answers");
  answers_->setTextFormat(Qt::PlainText);
  answers_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  answers_->setWordWrap(true);
  column->addWidget(answers_);
  tabs_->addTab(methods_table_, tr("Methods"));
  tabs_->addTab(gaps_table_, tr("Gaps by task"));
  tabs_->addTab(samples, tr("Samples"));
  tabs_->setMinimumHeight(tabs_->fontMetrics().height() * 7);
  return tabs_;
}

void SweepPanel::show_methods() {
  const record::SweepMeta& meta = sweep_->record.meta;
  const QSignalBlocker blocker(methods_table_->selectionModel());
  methods_->removeRows(0, methods_->rowCount());
  std::int64_t tokens = std::max<std::int64_t>(1, length());
  for (const auto& row : sweep_->record.rows)
    if (row.sample.length == length()) tokens = std::max(tokens, row.tokens);
  for (const record::SweepCell* cell : cells()) {
    const auto& method = meta.methods[cell->method];
    const bool forced = cell->kl.count > 0;
    const double keys = sweep_keys(method, tokens);
    auto* name = cell_item(sweep_method_label(meta, method), QString::fromStdString(method.id), false);
    name->setData(QString::fromStdString(method.id), Qt::UserRole + 1);
    const auto chosen = scope();
    const std::int64_t wanted =
        chosen && chosen->scope == record::SweepScope::task && !meta.is_own_prompts() ? meta.samples : 0;
    static const QString short_verdicts[] = {QString(), tr("enough"), tr("not shown"), tr("not tested")};
    QString verdict = short_verdicts[static_cast<int>(cell->verdict)];
    if (cell->alarm) verdict = tr("ALARM: above dense");
    auto* verdict_item = cell_item(verdict, verdict, false);
    verdict_item->setToolTip(verdict_text(cell->verdict, sweep_->summary.margin));
    methods_->appendRow(
        {name,
         cell_item(std::isfinite(keys) ? format_count(std::llround(keys)) : QStringLiteral("–"),
                   std::isfinite(keys) ? keys : 1e12),
         cell_item(format_percent(cell->density), cell->density),
         cell_item(wanted > cell->samples ? tr("%1 of %2").arg(cell->samples).arg(wanted) : format_count(cell->samples),
                   qlonglong(cell->samples)),
         cell_item(cell->score ? format_fixed(*cell->score, 1) : QStringLiteral("–"), cell->score.value_or(-1)),
         cell_item(method.is_dense() ? QString() : difference_text(cell->difference), cell->difference.mean),
         verdict_item,
         cell_item(forced ? format_number(cell->kl.mean) : QStringLiteral("–"), forced ? cell->kl.mean : -1),
         cell_item(forced ? format_percent(cell->flips, 1) : QStringLiteral("–"), forced ? cell->flips : -1),
         cell_item(forced ? format_percent(cell->exact) : QStringLiteral("–"), forced ? cell->exact : -1)});
  }
  fit_table(methods_table_, 420);
  const QString id = method_->currentData().toString();
  for (int row = 0; row < sorted_methods_->rowCount(); ++row)
    if (sorted_methods_->index(row, 0).data(Qt::UserRole + 1).toString() == id)
      methods_table_->setCurrentIndex(sorted_methods_->index(row, 0));
}

void SweepPanel::show_samples() {
  const record::SweepMeta& meta = sweep_->record.meta;
  const QString id = method_->currentData().toString();
  const auto chosen = scope();
  std::map<record::SweepSample, const record::SweepRow*> dense;
  for (const auto& row : sweep_->record.rows)
    if (row.method == 0) dense[row.sample] = &row;
  QStandardItem* current = nullptr;
  {
    const QSignalBlocker blocker(samples_table_->selectionModel());
    samples_->removeRows(0, samples_->rowCount());
    std::int64_t lost = 0, both = 0;
    for (std::size_t i = 0; i < sweep_->record.rows.size(); ++i) {
      const auto& row = sweep_->record.rows[i];
      if (row.sample.calibration || row.sample.length != length()) continue;
      if (QString::fromStdString(meta.methods[row.method].id) != id) continue;
      if (chosen && chosen->scope == record::SweepScope::task && row.sample.task != chosen->task) continue;
      const auto base = dense.find(row.sample);
      const std::optional<double> before = base == dense.end() ? std::nullopt : base->second->score;
      if (before && row.score) ++both, lost += *row.score < *before ? 1 : 0;
      const auto score = [](const std::optional<double>& value) {
        return cell_item(value ? format_fixed(*value, 0) : QStringLiteral("–"), value.value_or(-1));
      };
      auto* task = cell_item(QString::fromStdString(meta.tasks[row.sample.task].name),
                             QString::fromStdString(meta.tasks[row.sample.task].name), false);
      task->setData(static_cast<int>(i), Qt::UserRole + 1);
      const bool kl = row.forced && row.forced->positions > 0 && !meta.methods[row.method].is_dense();
      const bool differs = kl && row.forced->first_divergence.has_value();
      const QString answer = first_characters(one_line(row.answer), 200);
      samples_->appendRow(
          {task,
           cell_item(row.sample.length > 0 ? format_count(row.sample.length) : QStringLiteral("–"),
                     qlonglong(row.sample.length)),
           cell_item(QString::number(row.sample.seed), qlonglong(row.sample.seed)),
           cell_item(format_count(row.tokens), qlonglong(row.tokens)), score(row.score), score(before),
           cell_item(kl ? format_number(row.forced->kl_mean) : QStringLiteral("–"), kl ? row.forced->kl_mean : -1),
           cell_item(!kl       ? QStringLiteral("–")
                     : differs ? tr("token %1").arg(*row.forced->first_divergence)
                               : tr("same"),
                     differs ? qlonglong(*row.forced->first_divergence) : qlonglong(1) << 40),
           cell_item(answer, answer, false)});
      if (static_cast<int>(i) == chosen_sample_) current = task;
    }
    sample_note_->setText(both > 0 ? tr("%1 of %2 samples score lower than dense").arg(lost).arg(both)
                                   : tr("%1 samples").arg(samples_->rowCount()));
    samples_table_->verticalHeader()->setDefaultSectionSize(samples_table_->fontMetrics().height() + 8);
    if (samples_->rowCount() <= 2000) fit_table(samples_table_, 420);
    if (current) samples_table_->setCurrentIndex(sorted_samples_->mapFromSource(current->index()));
  }
  if (!current) chosen_sample_ = -1;
  show_sample();
}

void SweepPanel::show_sample() {
  record_->setEnabled(chosen_sample_ >= 0);
  answers_->setVisible(chosen_sample_ >= 0);
  if (chosen_sample_ < 0) return;
  const auto& rows = sweep_->record.rows;
  const auto& row = rows[static_cast<std::size_t>(chosen_sample_)];
  std::string dense;
  for (const auto& other : rows)
    if (other.sample == row.sample && other.method == 0) dense = other.answer;
  const auto shown = [](const std::string& text) {
    const QString line = QString::fromStdString(text).simplified();
    return line.size() > 240 ? first_characters(line, 240) + QStringLiteral("…") : line;
  };
  answers_->setText(row.method == 0
                        ? tr("Dense: %1").arg(shown(dense))
                        : tr("Dense: %1\n%2: %3")
                              .arg(shown(dense),
                                   sweep_method_label(sweep_->record.meta, sweep_->record.meta.methods[row.method]),
                                   shown(row.answer)));
}

}  // namespace headroom::views
