// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/budget/ship_panel.h"

#include <QComboBox>
#include <QDoubleSpinBox>
#include <QLabel>
#include <QPushButton>
#include <QSignalBlocker>
#include <QSortFilterProxyModel>
#include <QStandardItemModel>
#include <QTableView>
#include <QtConcurrent>
#include <algorithm>
#include <cmath>
#include <exception>
#include <map>

#include "record/speedup.h"
#include "views/common/format.h"
#include "views/common/record_queries.h"
#include "views/common/theme.h"

namespace headroom::views {
namespace {

using record::SweepScope;

QStandardItem* ship_item(const QString& text, const QVariant& sort, bool number = true, bool bold = false) {
  auto* item = new QStandardItem(text);
  item->setData(sort, Qt::UserRole);
  if (number) item->setTextAlignment(Qt::AlignRight | Qt::AlignVCenter);
  if (bold) {
    QFont font = item->font();
    font.setBold(true);
    item->setFont(font);
  }
  return item;
}

QString ratio_text(const record::Speedup& speedup) {
  const QString ratio = QObject::tr("%1x").arg(format_fixed(speedup.ratio, 2));
  return speedup.firm() ? ratio : QObject::tr("%1 (hint)").arg(ratio);
}

SweepScope scope_of(int task) {
  return task >= 0    ? SweepScope::task
         : task == -2 ? SweepScope::in_family
         : task == -3 ? SweepScope::out_of_family
                      : SweepScope::macro;
}

QString layer_mass_text(const record::LayerBudget& layer) {
  return QObject::tr("%1 in layer %2").arg(format_percent(layer.mass, 1)).arg(layer.layer);
}

QString run_name(const record::RunRecord& run) {
  return QString::fromStdString(run.path().stem().string());
}

}  // namespace

record::RunBudgets layer_budgets_of(const std::vector<RecordPtr>& runs, double mass) {
  record::RunBudgets result;
  std::map<int, record::LayerBudget> most;
  for (const RecordPtr& run : runs) {
    const auto* dense = dense_of(*run);
    if (!dense) continue;
    const auto curves = run->mass_curves(dense->id);
    if (!curves) continue;
    for (const LayerBudget& one : suggested_budgets(*run, *curves, mass)) {
      const auto keys =
          static_cast<std::int64_t>(std::llround(one.reached ? one.budget : static_cast<double>(run->length())));
      record::LayerBudget& entry = most[one.layer];
      entry.layer = one.layer;
      entry.mass = mass;
      entry.keys = std::max(entry.keys, std::max<std::int64_t>(1, keys));
    }
    result.model = run->meta().model_name;
    result.model_sha256 = run->meta().model_sha256;
    if (result.indexer_sha256.empty()) result.indexer_sha256 = run->meta().indexer_sha256;
    result.length = std::max(result.length, run->length());
    result.sources.push_back(run->path().filename().string());
  }
  result.mass = mass;
  for (const auto& [layer, entry] : most) result.layers.push_back(entry);
  return result;
}

LayerBudgets to_layer_budgets(const std::vector<record::LayerBudget>& layers, const std::string& model_sha256,
                              const std::string& source) {
  LayerBudgets budgets;
  budgets.source = source;
  budgets.model_sha256 = model_sha256;
  for (const record::LayerBudget& one : layers) budgets.keys[one.layer] = one.keys;
  return budgets;
}

ShipPanel::ShipPanel(Selection* selection, QWidget* parent) : QWidget(parent), selection_(selection) {
  build();
  connect(source_, &QComboBox::activated, this, [this](int index) {
    change_look([&](ViewState& state) {
      state.sweep_look.ship_from_runs = source_->itemData(index).toInt() < 0;
      if (!state.sweep_look.ship_from_runs) state.sweep = source_->itemData(index).toInt();
    });
  });
  connect(family_, &QComboBox::activated, this, [this] {
    change_look([&](ViewState& state) { state.sweep_look.ship_family = family_->currentData().toString(); });
  });
  connect(task_, &QComboBox::activated, this,
          [this] { change_look([&](ViewState& state) { state.sweep_look.task = task_->currentData().toInt(); }); });
  connect(length_, &QComboBox::activated, this, [this] {
    change_look([&](ViewState& state) { state.sweep_look.length = length_->currentData().toLongLong(); });
  });
  connect(list_, &QComboBox::activated, this,
          [this](int index) { change_look([&](ViewState& state) { state.sweep_look.greedy = index == 1; }); });
  connect(keep_, &QDoubleSpinBox::valueChanged, this, [this](double value) {
    change_look([&](ViewState& state) { state.sweep_look.keep = value; }, QStringLiteral("ship keep"));
  });
  connect(worst_, &QDoubleSpinBox::valueChanged, this, [this](double value) {
    change_look([&](ViewState& state) { state.sweep_look.worst = value; }, QStringLiteral("ship worst"));
  });
  connect(mass_, &QDoubleSpinBox::valueChanged, this, [this](double value) {
    change_look([&](ViewState& state) { state.display.target = value; }, QStringLiteral("target"));
  });
  for (QDoubleSpinBox* field : {keep_, worst_, mass_})
    connect(field, &QDoubleSpinBox::editingFinished, this, [this] { selection_->end_merge(); });
  connect(&planning_, &QFutureWatcher<Plan>::finished, this, [this] {
    plan_ = planning_.result();
    show_layers();
  });
  connect(write_, &QPushButton::clicked, this, &ShipPanel::write_file);
  connect(confirm_, &QPushButton::clicked, this, &ShipPanel::confirm_requested);
  connect(run_, &QPushButton::clicked, this, [this] {
    const std::string sha = from_runs() ? run_budgets_.model_sha256 : sweep_ ? sweep_->record.meta.model_sha256 : "";
    const std::string source = from_runs() || !sweep_ ? "open runs" : sweep_->path.filename().string();
    if (!shown_layers_.empty()) emit run_layer_budgets_requested(to_layer_budgets(shown_layers_, sha, source));
  });
}

bool ShipPanel::from_runs() const {
  return !sweep_ || (selection_->state().sweep_look.ship_from_runs && selection_->record());
}

std::vector<RecordPtr> ShipPanel::runs() const {
  std::vector<RecordPtr> list;
  const RecordPtr shown = selection_->record();
  if (!shown) return list;
  const auto& meta = shown->meta();
  for (const RecordPtr& run : selection_->state().runs) {
    const auto& other = run->meta();
    if (meta.model_sha256.empty() ? other.model_name == meta.model_name : other.model_sha256 == meta.model_sha256)
      list.push_back(run);
  }
  return list;
}

std::int64_t ShipPanel::length() const {
  const std::int64_t asked = selection_->state().sweep_look.length;
  return asked >= 0 ? asked : sweep_->record.meta.lengths.front();
}

std::vector<ShipPanel::Families> ShipPanel::families() const {
  std::vector<Families> list;
  const auto find = [&](const QString& key, const QString& name) -> Families& {
    const auto found = std::find_if(list.begin(), list.end(), [&](const auto& one) { return one.key == key; });
    return found != list.end() ? *found : list.emplace_back(Families{key, name, {}});
  };
  if (from_runs()) {
    for (const RecordPtr& run : runs())
      for (const auto& method : run->methods()) {
        if (method.is_dense() || !method.budget) continue;
        QString name = method_name(method);
        if (method.granularity > 1) name = tr("%1, shared by %2").arg(name).arg(method.granularity);
        if (method.parameters.contains("layer_budgets")) name = tr("%1, budgets by layer").arg(name);
        find(method_family(method.name, method.granularity, method.parameters), name);
      }
    return list;
  }
  const record::SweepMeta& meta = sweep_->record.meta;
  for (std::size_t i = 0; i < meta.methods.size(); ++i) {
    const auto& method = meta.methods[i];
    if (method.is_dense()) continue;
    find(method_family(method.name, method.granularity, method.parameters), sweep_method_name(meta, method))
        .methods.push_back(i);
  }
  return list;
}

std::optional<ShipPanel::Families> ShipPanel::family() const {
  const auto list = families();
  if (list.empty()) return std::nullopt;
  const QString& wanted = selection_->state().sweep_look.ship_family;
  for (const auto& one : list)
    if (one.key == wanted) return one;
  // What can be shipped comes before the reference.
  for (const auto& one : list)
    if (one.key.startsWith("indexer|")) return one;
  return list.front();
}

void ShipPanel::refresh() {
  sweep_ = selection_->sweep();
  fill_choices();
  if (from_runs())
    show_runs();
  else
    show_sweep();
  begin_plan();
  show_layers();
}

void ShipPanel::restyle() {
  QFont big = font();
  big.setPointSizeF(font().pointSizeF() * 1.15);
  headline_->setFont(big);
  fit_table(table_, 320);
  fit_table(layers_table_);
}

void ShipPanel::fill_choices() {
  const QSignalBlocker blockers[] = {QSignalBlocker(source_), QSignalBlocker(family_), QSignalBlocker(task_),
                                     QSignalBlocker(length_), QSignalBlocker(list_),   QSignalBlocker(keep_),
                                     QSignalBlocker(worst_),  QSignalBlocker(mass_)};
  const ViewState& state = selection_->state();
  const SweepLook& look = state.sweep_look;
  source_->clear();
  for (std::size_t i = 0; i < state.sweeps.size(); ++i)
    source_->addItem(tr("sweep %1").arg(QString::fromStdString(state.sweeps[i]->path.stem().string())),
                     static_cast<int>(i));
  if (const auto count = runs().size(); count > 0)
    source_->addItem(tr("%1, an indication").arg(count == 1 ? tr("the open run") : tr("%1 open runs").arg(count)), -1);
  source_->setCurrentIndex(source_->findData(from_runs() ? -1 : state.sweep));
  family_->clear();
  for (const auto& one : families()) family_->addItem(one.name, one.key);
  const auto chosen = family();
  family_->setCurrentIndex(chosen ? family_->findData(chosen->key) : -1);
  const bool sweep = !from_runs();
  task_->setVisible(sweep);
  length_->setVisible(sweep);
  task_->clear();
  length_->clear();
  if (sweep) {
    const record::SweepMeta& meta = sweep_->record.meta;
    if (meta.tasks.size() > 1) task_->addItem(tr("macro mean"), -1);
    for (std::size_t i = 0; i < meta.tasks.size(); ++i)
      task_->addItem(QString::fromStdString(meta.tasks[i].name), static_cast<int>(i));
    task_->setCurrentIndex(std::max(0, task_->findData(look.task)));
    for (const std::int64_t one : meta.lengths) length_->addItem(sweep_length_text(one), static_cast<qlonglong>(one));
    length_->setCurrentIndex(std::max(0, length_->findData(static_cast<qlonglong>(length()))));
  }
  keep_of_->setText(sweep ? tr("of dense's score,") : tr("of the mass,"));
  if (keep_->value() != look.keep) keep_->setValue(look.keep);
  if (worst_->value() != look.worst) worst_->setValue(look.worst);
  if (mass_->value() != state.display.target) mass_->setValue(state.display.target);
  list_->setCurrentIndex(look.greedy && sweep ? 1 : 0);
  list_->setVisible(sweep);
  confirm_->setVisible(sweep && !sweep_->growing);
}

ShipPanel::Known ShipPanel::known_of(const record::SweepMethod& method) const {
  const record::SweepMeta& meta = sweep_->record.meta;
  // Times and the worst layer belong to their context: another length has others.
  const auto fits = [wanted = static_cast<double>(length())](std::int64_t tokens) {
    return wanted <= 0 || std::abs(static_cast<double>(tokens) / wanted - 1) <= 0.25;
  };
  Known found;
  for (const RecordPtr& run : selection_->state().runs) {
    if (run->meta().model_sha256 != meta.model_sha256 || !fits(run->length())) continue;
    const auto* dense = dense_of(*run);
    for (const auto& one : run->methods()) {
      if (one.name != method.name || one.granularity != method.granularity || one.budget != method.budget ||
          one.parameters != method.parameters || found.speedup)
        continue;
      const bool timed = one.ttft.repeats > 0;
      const auto speedup = dense ? record::speedup_over(one, *dense, run->meta().timed_in_turn) : std::nullopt;
      if (found.method && !speedup && (found.ttft || !timed)) continue;  // says no more than what is there
      found = {run, &one, speedup, std::nullopt, {}};
      if (!timed) continue;
      found.ttft = one.ttft.median;
      found.timed_in = tr("%1, %2 tokens").arg(run_name(*run), format_count(run->length()));
    }
  }
  for (const BenchPtr& bench : selection_->state().benches) {
    if (found.ttft || meta.model_sha256.empty() || bench->report.weights != meta.model_sha256) continue;
    for (const record::BenchRow& row : bench->report.rows) {
      if (found.ttft || row.id != method.id || row.ttft.repeats <= 0 || !row.error.empty() || !fits(row.length))
        continue;
      found.ttft = row.ttft.median;
      found.timed_in = tr("%1, %2 tokens")
                           .arg(QString::fromStdString(bench->path.stem().string()), format_count(row.length));
    }
  }
  return found;
}

void ShipPanel::show_sweep() {
  const record::SweepMeta& meta = sweep_->record.meta;
  const SweepLook& look = selection_->state().sweep_look;
  model_->clear();
  model_->setHorizontalHeaderLabels({tr("budget"), tr("of pairs"), tr("keeps"), tr("from dense"), tr("verdict"),
                                     tr("TTFT"), tr("speedup"), tr("worst layer, own keys"),
                                     tr("worst layer, best keys"), tr("meets both")});
  const QString headings[] = {tr("Median time to first token, by an open run or bench result of this model"),
                              tr("Over dense of the same run"),
                              tr("What the method's own keys held there, in that run; it decides where it is known"),
                              tr("From the sweep's mass curves: what the best keys hold there. No method holds more")};
  for (int i = 0; i < 4; ++i) model_->setHeaderData(5 + i, Qt::Horizontal, headings[i], Qt::ToolTipRole);
  const auto chosen = family();
  if (!chosen) {
    headline_->setText(tr("This sweep holds no method beside dense."));
    return note_->clear();
  }
  const int task = meta.tasks.size() == 1 ? 0 : look.task;
  const record::ShipTarget target{look.keep / 100, look.worst / 100};
  const auto ship =
      record::number_to_ship(sweep_->record, sweep_->summary, scope_of(task),
                             task >= 0 ? static_cast<std::size_t>(task) : 0, length(), chosen->methods, target,
                             [&](std::size_t method) {
                               const Known found = known_of(meta.methods[method]);
                               return found.method ? record::worst_layer_of(*found.method) : std::nullopt;
                             });
  if (!ship.scored) keep_of_->setText(tr("of dense's answers word for word,"));
  static const QString short_verdicts[] = {QString(), tr("enough"), tr("not shown"), tr("not tested")};
  const auto keeps_text = [&](const record::SweepShipBudget& one) {
    return format_percent(std::min(one.kept, 9.99), 1);
  };
  for (std::size_t i = 0; i < ship.budgets.size(); ++i) {
    const auto& one = ship.budgets[i];
    const auto& cell = sweep_->summary.cells[one.cell];
    const auto& method = meta.methods[cell.method];
    const bool bold = ship.chosen == i;
    const Known found = known_of(method);
    const auto layer_text = [&](const std::optional<record::LayerBudget>& layer, bool decides) {
      return layer_mass_text(*layer) + (decides && !one.worst_keeps ? tr(" ✕") : QString());
    };
    model_->appendRow(
        {ship_item(budget_text(*method.budget), method.budget->value, true, bold),
         ship_item(format_percent(cell.density), cell.density, true, bold),
         ship_item(keeps_text(one) + (one.keeps ? QString() : tr(" ✕")), one.kept, true, bold),
         ship_item(difference_text(cell.difference), cell.difference.mean, true, bold),
         ship_item(short_verdicts[static_cast<int>(cell.verdict)], static_cast<int>(cell.verdict), false, bold),
         ship_item(found.ttft ? format_ms(*found.ttft) : tr("not timed"), found.ttft.value_or(1e15), true, bold),
         ship_item(found.speedup ? ratio_text(*found.speedup) : QStringLiteral("–"),
                   found.speedup ? found.speedup->ratio : -1, true, bold),
         ship_item(one.own_worst ? layer_text(one.own_worst, true) : tr("not run"),
                   one.own_worst ? one.own_worst->mass : -1, true, bold),
         ship_item(one.worst ? layer_text(one.worst, !one.own_worst) : tr("no curve"),
                   one.worst ? one.worst->mass : -1, true, bold),
         ship_item(one.meets() ? tr("yes") : tr("no"), one.meets(), false, bold)});
  }
  fit_table(table_, 320);
  const QString where = tr("%1, %2").arg(task_->currentText(), sweep_length_text(length()));
  if (ship.chosen) {
    const auto& one = ship.budgets[*ship.chosen];
    const auto& cell = sweep_->summary.cells[one.cell];
    const auto& method = meta.methods[cell.method];
    QString text = tr("<b>%1</b>, %2: %3 of pairs, keeps %4 of %5")
                       .arg(budget_text(*method.budget), chosen->name.toHtmlEscaped(), format_percent(cell.density),
                            keeps_text(one), ship.scored ? tr("dense's score") : tr("dense's answers"));
    if (cell.difference.pairs > 0)
      text += tr(" (%1 points on %2 pairs)").arg(difference_text(cell.difference)).arg(cell.difference.pairs);
    const Known found = known_of(method);
    if (one.own_worst)
      text += tr("; layer %1, its worst, keeps %2 of the mass in %3.")
                  .arg(one.own_worst->layer)
                  .arg(format_percent(one.own_worst->mass, 1), run_name(*found.run).toHtmlEscaped());
    else
      text += tr("; in layer %1, the worst, the best keys hold %2 of the mass, and its own no more.")
                  .arg(one.worst->layer)
                  .arg(format_percent(one.worst->mass, 1));
    if (found.ttft)
      text += ' ' + tr("TTFT %1 in %2%3.")
                        .arg(format_ms(*found.ttft), found.timed_in.toHtmlEscaped(),
                             found.speedup ? tr(", %1 over dense").arg(ratio_text(*found.speedup)) : QString());
    else
      text += ' ' + tr("Not timed: no open run of this model has it at this length.");
    const QString verdict = verdict_text(cell.verdict, sweep_->summary.margin);
    if (!verdict.isEmpty()) text += ' ' + tr("Verdict: %1.").arg(verdict);
    headline_->setText(text);
  } else {
    QString text = tr("<b>No budget</b> of %1 that was run meets both targets.").arg(chosen->name.toHtmlEscaped());
    if (!ship.budgets.empty()) {
      const auto& best = ship.budgets.back();
      const auto& cell = sweep_->summary.cells[best.cell];
      text += ' ' + tr("The largest, %1, keeps %2%3.")
                        .arg(budget_text(*meta.methods[cell.method].budget), keeps_text(best),
                             best.own_worst ? tr(", and its worst layer %1").arg(layer_mass_text(*best.own_worst))
                             : best.worst   ? tr(", and the best keys hold %1").arg(layer_mass_text(*best.worst))
                                        : tr("; the sweep holds no mass curves at this length"));
    }
    headline_->setText(text);
  }
  note_->setText(
      tr("Measured on %1. TTFT, speedup and the method's own worst layer come from open runs of this model within a "
         "quarter of this length; where none has it, the worst layer is what the best keys hold by dense's mass "
         "curves, and no method holds more. A budget chosen on samples must be confirmed on fresh ones.")
          .arg(where));
}

void ShipPanel::show_runs() {
  const SweepLook& look = selection_->state().sweep_look;
  model_->clear();
  model_->setHorizontalHeaderLabels({tr("run"), tr("tokens"), tr("budget"), tr("of pairs"), tr("mass kept"),
                                     tr("worst layer"), tr("KL, nats"), tr("answer"), tr("TTFT"), tr("speedup"),
                                     tr("meets both")});
  const auto open = runs();
  const auto chosen = family();
  if (!chosen) {
    headline_->setText(open.empty() ? tr("Open a sweep or some runs.")
                                    : tr("The open runs hold dense alone: run a method at some budgets."));
    return note_->clear();
  }
  std::vector<record::ShipPrompt> prompts;
  for (const RecordPtr& run : open) {
    record::ShipPrompt prompt;
    prompt.methods = &run->methods();
    prompt.tokens = run->length();
    prompt.timed_in_turn = run->meta().timed_in_turn;
    try {
      const auto* dense = dense_of(*run);
      if (const auto curves = dense ? run->mass_curves(dense->id) : nullptr) {
        const RecallCurves recall = recall_curves(*run, *curves, -1);
        prompt.budgets = recall.budgets;
        prompt.mean = recall.mean;
        prompt.worst = recall.low;
      }
    } catch (const std::exception&) {
      // Without curves there is no bound; the Budget page says what is wrong with them.
    }
    prompts.push_back(std::move(prompt));
  }
  const auto ship = record::number_to_ship(prompts, {look.keep / 100, look.worst / 100}, [&](const auto& method) {
    return method_family(method.name, method.granularity, method.parameters) == chosen->key;
  });
  for (std::size_t b = 0; b < ship.budgets.size(); ++b) {
    for (std::size_t i = 0; i < open.size(); ++i) {
      const auto& cell = ship.budgets[b].prompts[i];
      if (!cell.method) continue;
      const auto& method = *cell.method;
      const auto* dense = dense_of(*open[i]);
      const bool bold = ship.chosen == b;
      const auto kl = method.answer_kl();
      const bool same = dense && method.answer == dense->answer;
      model_->appendRow(
          {ship_item(run_name(*open[i]), run_name(*open[i]), false, bold),
           ship_item(format_count(open[i]->length()), qlonglong(open[i]->length()), true, bold),
           ship_item(budget_text(*method.budget), method.budget->value, true, bold),
           ship_item(format_percent(method.density), method.density, true, bold),
           ship_item(format_percent(method.captured_mass_mean, 1) + (cell.keeps ? QString() : tr(" ✕")),
                     method.captured_mass_mean, true, bold),
           ship_item(format_percent(method.captured_mass_min, 1) + (cell.worst_keeps ? QString() : tr(" ✕")),
                     method.captured_mass_min, true, bold),
           ship_item(kl ? format_number(*kl) : QStringLiteral("–"), kl.value_or(-1), true, bold),
           ship_item(!dense ? QStringLiteral("–")
                     : same ? tr("same")
                            : tr("differs"),
                     same, false, bold),
           ship_item(method.ttft.repeats > 0 ? format_ms(method.ttft.median) : tr("not timed"), method.ttft.median,
                     true, bold),
           ship_item(cell.speedup ? ratio_text(*cell.speedup) : QStringLiteral("–"),
                     cell.speedup ? cell.speedup->ratio : -1, true, bold),
           ship_item(cell.keeps && cell.worst_keeps ? tr("yes") : tr("no"), cell.keeps && cell.worst_keeps, false,
                     bold)});
    }
  }
  fit_table(table_, 320);
  const QString prompts_text = open.size() == 1 ? tr("1 prompt") : tr("%1 prompts").arg(open.size());
  QString text;
  if (ship.chosen) {
    const auto& best = ship.budgets[*ship.chosen];
    double least = 2, worst = 2, slow = 1e9, fast = 0;
    for (const auto& cell : best.prompts) {
      least = std::min(least, cell.method->captured_mass_mean);
      worst = std::min(worst, cell.method->captured_mass_min);
      if (!cell.speedup) continue;
      slow = std::min(slow, cell.speedup->ratio);
      fast = std::max(fast, cell.speedup->ratio);
    }
    text = tr("<b>%1</b>, %2: keeps at least %3 of the mass (%4), %5 in the worst layer; %6 of pairs in the mean")
               .arg(budget_text(best.budget), chosen->name.toHtmlEscaped(), format_percent(least, 1), prompts_text,
                    format_percent(worst, 1), format_percent(best.density));
    text += fast > 0 ? tr("; %1x faster than dense.")
                           .arg(slow == fast ? format_fixed(fast, 2)
                                             : format_fixed(slow, 2) + QStringLiteral("–") + format_fixed(fast, 2))
                     : tr("; no speedup to tell.");
  } else {
    text = tr("<b>No budget</b> of %1 that was run on every prompt (%2) meets both targets.")
               .arg(chosen->name.toHtmlEscaped(), prompts_text);
  }
  if (ship.bound)
    text += ' ' + tr("By the mass curves the best keys get there with %1 a query.").arg(format_count(*ship.bound));
  headline_->setText(text);
  note_->setText(
      tr("An indication from %1, not a quality result: mass says nothing of scores. A sweep over these prompts does.")
          .arg(prompts_text));
}

}  // namespace headroom::views
