// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/budget/sweep_panel.h"

#include <QComboBox>
#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QSignalBlocker>
#include <QSortFilterProxyModel>
#include <QStandardItemModel>
#include <QTabWidget>
#include <QTableView>
#include <algorithm>
#include <cmath>

#include "record/sweep/sweep_tables.h"
#include "views/budget/gap_waterfall.h"
#include "views/budget/sweep_plot.h"
#include "views/common/format.h"
#include "views/common/record_queries.h"
#include "views/common/theme.h"

namespace headroom::views {
namespace {

using record::SweepCell;
using record::SweepScope;

constexpr int macro_choice = -1, in_family_choice = -2, out_of_family_choice = -3;

QString sweep_name(const OpenSweep& sweep) {
  return QString::fromStdString(sweep.path.stem().string());
}

QString task_name(const record::SweepMeta& meta, std::size_t task) {
  return meta.tasks[task].name == record::own_prompts ? QObject::tr("own prompts")
                                                      : QString::fromStdString(meta.tasks[task].name);
}

/// " (ceiling)": why a task is not in the macro mean.
QString mark_text(const OpenSweep& sweep, std::size_t task, std::int64_t length) {
  for (const auto& choice : sweep.summary.tasks)
    if (choice.task == task && choice.length == length && !choice.in_macro())
      return QObject::tr(" (%1)").arg(
          QString::fromUtf8(record::task_mark_names[static_cast<std::size_t>(choice.mark)].data()));
  return {};
}

}  // namespace

SweepPanel::SweepPanel(Selection* selection, QWidget* parent) : QWidget(parent), selection_(selection) {
  build();
  const auto on = [this](QComboBox* box, auto&& edit) {
    connect(box, &QComboBox::activated, this,
            [this, box, edit] { change_look([&](SweepLook& look) { edit(look, box); }); });
  };
  connect(sweeps_, &QComboBox::activated, this,
          [this](int index) { selection_->change([&](ViewState& state) { state.sweep = index; }); });
  on(task_, [](SweepLook& look, QComboBox* box) { look.task = box->currentData().toInt(); });
  on(length_, [](SweepLook& look, QComboBox* box) { look.length = box->currentData().toLongLong(); });
  on(quantity_, [](SweepLook& look, QComboBox* box) { look.quantity = box->currentData().toInt(); });
  on(axis_, [](SweepLook& look, QComboBox* box) { look.keys_axis = box->currentIndex() == 1; });
  on(budget_, [](SweepLook& look, QComboBox* box) { look.budget = box->currentData().toString(); });
  on(method_, [](SweepLook& look, QComboBox* box) { look.method = box->currentData().toString(); });
  connect(plot_, &SweepPlot::legend_changed, this, [this] { legend_->setText(plot_->legend_html()); });
  connect(plot_, &SweepPlot::method_chosen, this,
          [this](const QString& id) { change_look([&](SweepLook& look) { look.method = id; }); });
  connect(methods_table_->selectionModel(), &QItemSelectionModel::currentRowChanged, this,
          [this](const QModelIndex& index) {
            const QString id = index.siblingAtColumn(0).data(Qt::UserRole + 1).toString();
            if (!id.isEmpty() && index.isValid()) change_look([&](SweepLook& look) { look.method = id; });
          });
  connect(samples_table_->selectionModel(), &QItemSelectionModel::currentRowChanged, this,
          [this](const QModelIndex& index) {
            chosen_sample_ = index.isValid() ? index.siblingAtColumn(0).data(Qt::UserRole + 1).toInt() : -1;
            show_sample();
          });
  connect(record_, &QPushButton::clicked, this, [this] {
    if (chosen_sample_ >= 0) emit record_sample_requested(chosen_sample_);
  });
  connect(new_sweep_, &QPushButton::clicked, this, &SweepPanel::new_sweep_requested);
  connect(confirm_, &QPushButton::clicked, this, &SweepPanel::confirm_requested);
}

std::int64_t SweepPanel::length() const {
  const std::int64_t asked = selection_->state().sweep_look.length;
  return asked >= 0 ? asked : sweep_->record.meta.lengths.front();
}

std::optional<SweepPanel::Scope> SweepPanel::scope() const {
  const auto exists = [this](SweepScope scope, std::size_t task) {
    return std::any_of(sweep_->summary.cells.begin(), sweep_->summary.cells.end(), [&](const SweepCell& cell) {
      return cell.scope == scope && cell.length == length() && (scope != SweepScope::task || cell.task == task);
    });
  };
  const int choice = selection_->state().sweep_look.task;
  if (choice >= 0) return Scope{SweepScope::task, static_cast<std::size_t>(choice)};
  const SweepScope wanted = choice == in_family_choice       ? SweepScope::in_family
                            : choice == out_of_family_choice ? SweepScope::out_of_family
                                                             : SweepScope::macro;
  if (sweep_->record.meta.tasks.size() > 1 && exists(wanted, 0)) return Scope{wanted, 0};
  for (std::size_t task = 0; task < sweep_->record.meta.tasks.size(); ++task)
    if (exists(SweepScope::task, task)) return Scope{SweepScope::task, task};
  return std::nullopt;
}

QString SweepPanel::scope_text() const {
  const auto chosen = scope();
  if (!chosen) return tr("no task yet");
  switch (chosen->scope) {
    case SweepScope::task:
      return task_name(sweep_->record.meta, chosen->task);
    case SweepScope::in_family:
      return tr("macro mean, tasks like those that indexers are trained on");
    case SweepScope::out_of_family:
      return tr("macro mean, other tasks");
    case SweepScope::macro:
      break;
  }
  return tr("macro mean");
}

std::vector<const SweepCell*> SweepPanel::cells() const {
  std::vector<const SweepCell*> list;
  const auto chosen = scope();
  if (!chosen) return list;
  for (const SweepCell& cell : sweep_->summary.cells)
    if (cell.scope == chosen->scope && cell.length == length() &&
        (chosen->scope != SweepScope::task || cell.task == chosen->task))
      list.push_back(&cell);
  return list;
}

int SweepPanel::quantity() const {
  const auto list = cells();
  const bool scored =
      std::any_of(list.begin(), list.end(), [](const SweepCell* cell) { return cell->difference.pairs > 0; });
  return scored || list.size() < 2 ? selection_->state().sweep_look.quantity : 2;
}

void SweepPanel::refresh() {
  const SweepPtr before = sweep_;
  sweep_ = selection_->sweep();
  if (!sweep_) return;
  if (!before || before->path != sweep_->path) chosen_sample_ = -1;
  if (before && before != sweep_ && chosen_sample_ >= 0) {
    // Rows have come in: the same sample, where it lies now.
    const auto& old = before->record.rows[static_cast<std::size_t>(chosen_sample_)];
    const auto& rows = sweep_->record.rows;
    const auto found = std::find_if(rows.begin(), rows.end(), [&](const auto& row) {
      return row.sample == old.sample && row.method == old.method;
    });
    chosen_sample_ = found == rows.end() ? -1 : static_cast<int>(found - rows.begin());
  }
  fill_choices();
  show_facts();
  show_points();
  show_gaps();
  show_methods();
  show_samples();
}

void SweepPanel::restyle() {
  plot_->restyle();
  waterfall_->update();
  for (QTableView* table : {methods_table_, gaps_table_, samples_table_}) fit_table(table, 420);
  QPalette palette = alarms_->palette();
  palette.setColor(QPalette::Window, Theme::instance().warning_background());
  alarms_->setPalette(palette);
  if (sweep_) {
    legend_->setText(plot_->legend_html());
    verdicts_->setText(verdicts_html());
  }
}

void SweepPanel::fill_choices() {
  const QSignalBlocker blockers[] = {QSignalBlocker(sweeps_),  QSignalBlocker(task_),   QSignalBlocker(length_),
                                     QSignalBlocker(axis_),    QSignalBlocker(budget_), QSignalBlocker(method_),
                                     QSignalBlocker(quantity_)};
  const ViewState& state = selection_->state();
  const SweepLook& look = state.sweep_look;
  const record::SweepMeta& meta = sweep_->record.meta;
  sweeps_->clear();
  for (const SweepPtr& one : state.sweeps) sweeps_->addItem(sweep_name(*one));
  sweeps_->setCurrentIndex(state.sweep);
  sweeps_->setVisible(state.sweeps.size() > 1);

  task_->clear();
  const auto any = [&](SweepScope scope) {
    return std::any_of(sweep_->summary.cells.begin(), sweep_->summary.cells.end(),
                       [&](const SweepCell& cell) { return cell.scope == scope && cell.length == length(); });
  };
  if (meta.tasks.size() > 1) {
    if (any(SweepScope::macro)) task_->addItem(tr("Macro mean"), macro_choice);
    if (any(SweepScope::in_family)) task_->addItem(tr("Macro mean, in family"), in_family_choice);
    if (any(SweepScope::out_of_family)) task_->addItem(tr("Macro mean, out of family"), out_of_family_choice);
  }
  for (std::size_t task = 0; task < meta.tasks.size(); ++task)
    task_->addItem(task_name(meta, task) + mark_text(*sweep_, task, length()), static_cast<int>(task));
  const auto chosen = scope();
  const int shown = !chosen || chosen->scope != SweepScope::task ? look.task : static_cast<int>(chosen->task);
  task_->setCurrentIndex(std::max(0, task_->findData(shown)));

  length_->clear();
  for (const std::int64_t one : meta.lengths) length_->addItem(sweep_length_text(one), static_cast<qlonglong>(one));
  length_->setCurrentIndex(std::max(0, length_->findData(static_cast<qlonglong>(length()))));
  length_->setVisible(meta.lengths.size() > 1);

  quantity_->setCurrentIndex(std::max(0, quantity_->findData(quantity())));
  axis_->setCurrentIndex(look.keys_axis ? 1 : 0);

  budget_->clear();
  const bool single = chosen && chosen->scope == SweepScope::task;
  for (const auto& gap : sweep_->summary.gaps) {
    if (gap.length != length() || (gap.scope == SweepScope::task) != single || (single && gap.task != chosen->task))
      continue;
    const QString plain = QString::fromStdString(gap.budget);
    const bool shared = gap.kind == record::GapKind::realization && gap.granularity > 1;
    const QString key = shared ? QStringLiteral("%1|%2").arg(plain).arg(gap.granularity) : plain;
    const QString text = budget_text(parse_budget(gap.budget));
    if (gap.kind == record::GapKind::realization && !gap.by_construction) {
      if (const int alone = budget_->findData(plain); alone >= 0) budget_->removeItem(alone);
    }
    if (gap.kind != record::GapKind::realization && budget_->findData(plain) < 0)
      budget_->addItem(text, plain);
    else if (shared && budget_->findData(key) < 0)
      budget_->addItem(tr("%1, shared by %2").arg(text).arg(gap.granularity), key);
  }
  budget_->setCurrentIndex(std::max(0, budget_->findData(look.budget)));
  budget_->setVisible(budget_->count() > 0);

  method_->clear();
  for (const auto& method : meta.methods)
    method_->addItem(sweep_method_label(meta, method), QString::fromStdString(method.id));
  method_->setCurrentIndex(
      std::max(method_->findData(look.method), look.method.isEmpty() && meta.methods.size() > 1 ? 1 : 0));
}

void SweepPanel::show_facts() {
  const record::SweepMeta& meta = sweep_->record.meta;
  const std::int64_t wanted = static_cast<std::int64_t>(record::own_samples(meta).size());
  QStringList parts{sweep_name(*sweep_), QString::fromStdString(meta.model_name), QString::fromStdString(meta.dtype)};
  parts << (meta.is_own_prompts() ? tr("%1 prompts of your own").arg(format_count(meta.samples))
                                  : tr("%1 samples a task and length").arg(format_count(meta.samples)));
  std::size_t rows = 0;
  for (const auto& sample : record::own_samples(meta)) rows += sample.calibration ? 1 : meta.methods.size();
  if (sweep_->growing)
    parts << tr("at work: %1 of %2 rows")
                 .arg(format_count(std::ssize(sweep_->record.rows)), format_count(static_cast<std::int64_t>(rows)));
  else if (!meta.complete)
    parts << tr("not complete: %1 of %2 rows")
                 .arg(format_count(std::ssize(sweep_->record.rows)), format_count(static_cast<std::int64_t>(rows)));
  else
    parts << tr("%1 prompts in all").arg(format_count(wanted));
  QString text = parts.join(QStringLiteral(" · "));
  const auto chosen = scope();
  if (chosen && chosen->scope != SweepScope::task)
    if (const std::string note = record::macro_note(meta, sweep_->summary, length()); !note.empty())
      text += QStringLiteral(". ") + QString::fromStdString(note).left(1).toUpper() +
              QString::fromStdString(note).mid(1) + '.';
  facts_->setText(text);
  QStringList alarms;
  for (const std::string& alarm : sweep_->summary.alarms) alarms << QString::fromStdString(alarm);
  alarms_->setText(alarms.join('\n'));
  alarms_->setVisible(!alarms.isEmpty());
  verdicts_->setText(verdicts_html());
}

QString SweepPanel::verdicts_html() const {
  const record::SweepMeta& meta = sweep_->record.meta;
  const double margin = sweep_->summary.margin;
  QStringList enough, none;
  bool judged = false;
  std::int64_t pairs = 0;
  std::vector<QString> seen;
  for (const SweepCell* cell : cells()) {
    const auto& method = meta.methods[cell->method];
    pairs = std::max(pairs, cell->difference.pairs);
    if (method.is_dense()) continue;
    const QString family = method_family(method.name, method.granularity, method.parameters);
    if (std::find(seen.begin(), seen.end(), family) != seen.end()) continue;
    seen.push_back(family);
    const SweepCell* smallest = nullptr;
    for (const SweepCell* other : cells()) {
      const auto& one = meta.methods[other->method];
      if (one.is_dense() || method_family(one.name, one.granularity, one.parameters) != family) continue;
      judged = judged || other->verdict != record::Verdict::none;
      if (other->verdict == record::Verdict::enough && (!smallest || other->density < smallest->density))
        smallest = other;
    }
    if (smallest)
      enough << QStringLiteral("<b>%1</b> (%2)")
                    .arg(sweep_method_label(meta, meta.methods[smallest->method]).toHtmlEscaped(),
                         tr("%1 of pairs").arg(format_percent(smallest->density)));
    else
      none << sweep_method_name(meta, method).toHtmlEscaped();
  }
  const QString points = margin == 1 ? tr("1 point") : tr("%1 points").arg(format_number(margin));
  if (!judged) {
    if (pairs == 0) return tr("No task score: methods are compared with dense by KL and by their answers.");
    return tr("No verdict: %1 pairs give no interval (%2 are the least).").arg(pairs).arg(statistics::least_pairs);
  }
  QString html = enough.isEmpty()
                     ? tr("<b>No budget was shown to be enough</b> to within %1 on %2 pairs.").arg(points).arg(pairs)
                     : tr("Smallest budget that is enough to within %1 on these samples: %2.")
                           .arg(points, enough.join(QStringLiteral(", ")));
  if (!enough.isEmpty() && !none.isEmpty()) html += ' ' + tr("Not shown for %1.").arg(none.join(QStringLiteral(", ")));
  html += ' ' + (enough.isEmpty() ? tr("A verdict to within %1 needs at least %2 pairs that all agree.")
                                        .arg(points)
                                        .arg(statistics::pairs_for_margin(margin))
                                  : tr("It was chosen on these samples: confirm it on fresh ones."));
  return html;
}

void SweepPanel::show_points() {
  const record::SweepMeta& meta = sweep_->record.meta;
  const SweepLook& look = selection_->state().sweep_look;
  SweepPicture picture;
  picture.x_percent = !look.keys_axis;
  picture.x_label = look.keys_axis ? tr("keys a query") : tr("density: causal pairs attended / all");
  const int shown = quantity();
  picture.y_label = shown == 0   ? tr("points from dense")
                    : shown == 1 ? tr("task score, points")
                                 : tr("KL to dense, nats");
  picture.from_zero = shown == 2;
  const auto* recall = sweep_->recall.at(length());
  std::int64_t tokens = recall ? recall->tokens : std::max<std::int64_t>(1, length());
  for (const auto& row : sweep_->record.rows)
    if (!recall && row.sample.length == length()) tokens = std::max(tokens, row.tokens);
  for (const SweepCell* cell : cells()) {
    const auto& method = meta.methods[cell->method];
    if (method.is_dense()) {
      if (shown == 1 && cell->score) picture.dense = *cell->score;
      continue;
    }
    SweepPoint point;
    point.look = method.look;
    point.filled = method.granularity == 1;
    point.id = QString::fromStdString(method.id);
    point.name = sweep_method_name(meta, method);
    point.x = look.keys_axis ? sweep_keys(method, tokens) : cell->density;
    point.alarm = cell->alarm;
    const auto& difference = cell->difference;
    if (shown == 2) {
      if (cell->kl.count == 0) continue;
      point.y = cell->kl.mean;
      if (cell->kl.interval) point.low = cell->kl.interval->low, point.high = cell->kl.interval->high;
    } else {
      if (difference.pairs == 0) continue;
      // The interval is that of the paired difference, wherever the point lies.
      const double shift = shown == 1 ? cell->score.value_or(0) - difference.mean : 0;
      point.y = difference.mean + shift;
      if (difference.interval)
        point.low = difference.interval->low + shift, point.high = difference.interval->high + shift;
    }
    if (!std::isfinite(point.x) || !(point.x > 0)) continue;
    QStringList lines{sweep_method_label(meta, method),
                      tr("%1 of pairs, %2 samples").arg(format_percent(cell->density), format_count(cell->samples))};
    if (difference.pairs > 0) {
      lines << tr("score %1, from dense %2").arg(format_fixed(cell->score.value_or(0), 1), difference_text(difference));
      if (const QString verdict = verdict_text(cell->verdict, sweep_->summary.margin); !verdict.isEmpty())
        lines << verdict;
    }
    if (cell->kl.count > 0) lines << tr("KL to dense %1 nats").arg(format_number(cell->kl.mean));
    if (cell->alarm) lines << tr("above dense: more likely a fault than a gain");
    point.tip = lines.join('\n');
    picture.points.push_back(std::move(point));
  }
  if (shown == 0) picture.dense = 0;
  if (shown != 2) picture.margin = sweep_->summary.margin;
  if (recall) {
    for (std::size_t i = 0; i < recall->budgets.size(); ++i) {
      const double keys = static_cast<double>(recall->budgets[i]);
      picture.recall_x.push_back(look.keys_axis ? keys : density_of(recall->tokens, keys));
    }
    picture.recall_mean = recall->mean;
    picture.recall_worst = recall->worst;
    picture.recall_label =
        tr("best keys (prompts: %1%2)").arg(recall->samples).arg(recall->held_out ? tr(", never scored") : QString());
  }
  plot_->show_picture(std::move(picture));
  plot_->set_selected(method_->currentData().toString());
  legend_->setText(plot_->legend_html());
}

const record::SweepGap* SweepPanel::gap(record::GapKind kind, const std::optional<std::size_t>& task) const {
  const QStringList key = budget_->currentData().toString().split('|');
  const std::int64_t granularity = key.size() > 1 ? key[1].toLongLong() : 1;
  for (const auto& one : sweep_->summary.gaps) {
    if (one.kind != kind || one.length != length() || QString::fromStdString(one.budget) != key[0]) continue;
    if ((one.scope == SweepScope::task) != task.has_value() || (task && one.task != *task)) continue;
    if (kind == record::GapKind::realization && one.granularity != granularity) continue;
    return &one;
  }
  return nullptr;
}

void SweepPanel::show_gaps() {
  const record::SweepMeta& meta = sweep_->record.meta;
  static const QString names[] = {tr("Feasibility"), tr("Indexer"), tr("Realization")};
  const auto chosen = scope();
  const auto task = chosen && chosen->scope == SweepScope::task ? std::optional(chosen->task) : std::nullopt;
  std::vector<WaterfallBar> bars;
  std::optional<double> dense, executed;
  for (const auto kind : {record::GapKind::feasibility, record::GapKind::indexer, record::GapKind::realization}) {
    const auto* one = gap(kind, task);
    if (!one) continue;
    WaterfallBar bar;
    bar.name = names[static_cast<int>(kind)];
    const auto& from = meta.methods[one->from];
    const auto& to = meta.methods[one->to];
    bar.pair =
        kind == record::GapKind::realization
            ? tr("per query → %1").arg(to.granularity > 1 ? tr("shared by %1").arg(to.granularity) : tr("as executed"))
            : tr("%1 → %2").arg(QString::fromStdString(from.name), QString::fromStdString(to.name));
    bar.value = one->by_construction ? tr("0 by construction") : difference_text(one->difference);
    bar.points = one->difference.mean;
    bar.look = to.look;
    if (one->difference.interval) bar.low = one->difference.interval->low, bar.high = one->difference.interval->high;
    bars.push_back(std::move(bar));
    for (const SweepCell* cell : cells()) {
      if (cell->method == 0) dense = cell->score;
      if (cell->method == one->to) executed = cell->score;
    }
  }
  waterfall_->show_bars(std::move(bars), dense, executed,
                        tr("No waterfall yet: it needs dense, the oracle and the indexer at one budget, scored by "
                           "reference answers."));

  gaps_->removeRows(0, gaps_->rowCount());
  const auto add = [&](const QString& name, const std::optional<std::size_t>& of, SweepScope scope) {
    QList<QStandardItem*> row{new QStandardItem(name)};
    row[0]->setData(name, Qt::UserRole);
    std::optional<double> score;
    for (const SweepCell& cell : sweep_->summary.cells)
      if (cell.scope == scope && cell.length == length() && cell.method == 0 && (!of || cell.task == *of))
        score = cell.score;
    auto* level = new QStandardItem(score ? format_fixed(*score, 1) : QStringLiteral("–"));
    level->setData(score.value_or(-1), Qt::UserRole);
    row << level;
    for (const auto kind : {record::GapKind::feasibility, record::GapKind::indexer, record::GapKind::realization}) {
      const auto* one = gap(kind, of);
      auto* item = new QStandardItem(!one                   ? QStringLiteral("–")
                                     : one->by_construction ? tr("0 by construction")
                                                            : difference_text(one->difference));
      item->setData(one ? one->difference.mean : -1e9, Qt::UserRole);
      row << item;
    }
    for (int i = 1; i < row.size(); ++i) row[i]->setTextAlignment(Qt::AlignRight | Qt::AlignVCenter);
    gaps_->appendRow(row);
  };
  if (meta.tasks.size() > 1) add(tr("macro mean"), std::nullopt, SweepScope::macro);
  for (std::size_t i = 0; i < meta.tasks.size(); ++i)
    add(task_name(meta, i) + mark_text(*sweep_, i, length()), i, SweepScope::task);
  fit_table(gaps_table_, 420);
}

QString SweepPanel::csv() const {
  if (!selection_->sweep()) return {};
  const SweepPtr sweep = selection_->sweep();
  QString text = QString::fromStdString(record::to_csv(record::sweep_table(sweep->record, sweep->summary)));
  text.replace("\r\n", "\n").replace("\n", "\r\n");
  return text;
}

void SweepPanel::render(Figure& figure) {
  refresh();
  if (!sweep_) return;
  const record::SweepMeta& meta = sweep_->record.meta;
  figure.title(tr("How much attention is enough, over many samples?"),
               tr("%1, %2. %3").arg(scope_text(), sweep_length_text(length()), facts_->text()));
  if (!alarms_->text().isEmpty()) figure.html("<b>" + alarms_->text().toHtmlEscaped().replace('\n', "<br>") + "</b>");
  figure.html(verdicts_html());
  figure.html(plot_->legend_html(), 0.9);
  const QRectF rest = figure.rest();
  const double unit = figure.unit();
  const double rows = static_cast<double>(waterfall_->bars().size()) + 2;
  const double below = waterfall_->bars().empty() ? 0 : rows * 44 * unit + 28 * unit;
  figure.plot(plot_,
              QRectF(rest.left(), rest.top(), rest.width(), std::max(120 * unit, rest.height() - below - 12 * unit)));
  if (below <= 0) return;
  figure.take_top(rest.height() - below);
  figure.heading(tr("Where the points go at %1: feasibility, indexer and realization gap").arg(budget_->currentText()));
  QFont font = QGuiApplication::font();
  font.setPixelSize(std::max(1, static_cast<int>(13 * unit + 0.5)));
  figure.painter().setFont(font);
  waterfall_->draw(figure.painter(), figure.rest(), unit);
  Q_UNUSED(meta);
}

}  // namespace headroom::views
