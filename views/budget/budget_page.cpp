// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/budget/budget_page.h"

#include <QComboBox>
#include <QDoubleSpinBox>
#include <QGridLayout>
#include <QHeaderView>
#include <QLabel>
#include <QPushButton>
#include <QScrollArea>
#include <QSignalBlocker>
#include <QSlider>
#include <QSortFilterProxyModel>
#include <QStandardItemModel>
#include <QTabBar>
#include <QTableView>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/json_fields.h"
#include "base/utf8.h"
#include "views/budget/budget_plot.h"
#include "views/budget/ship_panel.h"
#include "views/budget/sweep_panel.h"
#include "views/common/format.h"
#include "views/common/shown_part.h"
#include "views/common/theme.h"

namespace headroom::views {
namespace {

constexpr unsigned interest =
    Selection::Method | Selection::Layer | Selection::Budget | Selection::Display | Selection::Sweeps;
constexpr int slider_steps = 2000;
constexpr double lowest_p = 0.5, highest_p = 0.999;
const char* all_layers = "all layers";
// DisplayState::curve_stream where several stand in one plot: dense's is then the shown one.
constexpr QLatin1String all_streams("#streams"), all_runs("#runs");

QString lowered(QString text) {
  if (!text.isEmpty()) text[0] = text[0].toLower();
  return text;
}

bool same_model(const record::RunRecord& a, const record::RunRecord& b) {
  return a.meta().model_sha256.empty() ? a.meta().model_name == b.meta().model_name
                                       : a.meta().model_sha256 == b.meta().model_sha256;
}

QString prompt_label(const record::RunRecord& run) {
  return QObject::tr("%1, %2 tokens")
      .arg(QString::fromStdString(escape_invalid_utf8(run.path().stem().native())), format_count(run.length()));
}

QString keys_text(const std::optional<double>& keys) {
  return keys ? QObject::tr("%1 keys").arg(format_count(std::llround(*keys))) : QObject::tr("not reached");
}

}  // namespace

BudgetPage::BudgetPage(Selection* selection, QWidget* parent) : PageBase(selection, interest, parent) {
  build();
  connect(tabs_, &QTabBar::currentChanged, this, [this](int index) {
    this->selection()->change([index](ViewState& state) { state.sweep_look.page = index; });
  });
  connect(sweep_, &SweepPanel::new_sweep_requested, this, &BudgetPage::new_sweep_requested);
  connect(sweep_, &SweepPanel::confirm_requested, this, &BudgetPage::confirm_sweep_requested);
  connect(sweep_, &SweepPanel::record_sample_requested, this, &BudgetPage::record_sample_requested);
  connect(ship_, &ShipPanel::confirm_requested, this, &BudgetPage::confirm_sweep_requested);
  connect(ship_, &ShipPanel::write_budgets_requested, this, &BudgetPage::write_budgets_requested);
  connect(ship_, &ShipPanel::run_layer_budgets_requested, this, &BudgetPage::run_layer_budgets_requested);

  connect(unit_, &QComboBox::currentIndexChanged, this, [this](int index) {
    change_display([index](DisplayState& d) { d.unit = static_cast<BudgetUnit>(index); });
    configure_unit();  // in the same frame: what is typed next is in this unit
    show_budget();
  });
  connect(slider_, &QSlider::valueChanged, this, [this](int position) { set_budget(keys_of(slider_value(position))); });
  connect(slider_, &QSlider::sliderReleased, this, &BudgetPage::end_drag);
  connect(spin_, &QDoubleSpinBox::valueChanged, this, [this](double value) { set_budget(keys_of(value)); });
  connect(spin_, &QDoubleSpinBox::editingFinished, this, &BudgetPage::end_drag);
  connect(plot_, &BudgetPlot::budget_dragged, this, &BudgetPage::set_budget);
  connect(plot_, &BudgetPlot::drag_finished, this, &BudgetPage::end_drag);
  connect(run_, &QPushButton::clicked, this,
          [this] { emit run_budget_requested(static_cast<int>(std::lround(read_out_.budget))); });
  connect(stream_, &QComboBox::activated, this,
          [this] { change_display([this](DisplayState& d) { d.curve_stream = stream_->currentData().toString(); }); });
  connect(scope_, &QComboBox::activated, this,
          [this] { change_display([this](DisplayState& d) { d.curve_scope = scope_->currentData().toInt(); }); });
  connect(axis_, &QComboBox::activated, this,
          [this](int index) { change_display([index](DisplayState& d) { d.density_axis = index == 1; }); });
  connect(target_, &QDoubleSpinBox::valueChanged, this, [this](double value) {
    change_display([value](DisplayState& d) { d.target = value; }, QStringLiteral("target"));
  });
  connect(target_, &QDoubleSpinBox::editingFinished, this, &BudgetPage::end_drag);
}

BudgetUnit BudgetPage::unit() const {
  return selection()->state().display.unit;
}

void BudgetPage::show_display() {
  const DisplayState& display = selection()->state().display;
  const QSignalBlocker blockers[] = {QSignalBlocker(unit_), QSignalBlocker(axis_), QSignalBlocker(target_)};
  unit_->setCurrentIndex(static_cast<int>(display.unit));
  axis_->setCurrentIndex(display.density_axis ? 1 : 0);
  if (target_->value() != display.target) target_->setValue(display.target);
  plot_->set_density_axis(display.density_axis);
  configure_unit();
}

double BudgetPage::unit_value(double keys) const {
  const double length = record_ ? static_cast<double>(record_->length()) : 1;
  switch (unit()) {
    case BudgetUnit::tokens:
      return std::round(keys);
    case BudgetUnit::percent:
      return 100 * keys / length;
    case BudgetUnit::mass:
      return std::clamp(interpolate(curves_.budgets, curves_.mean, keys), lowest_p, highest_p);
  }
  return keys;
}

double BudgetPage::keys_of(double value) const {
  const double length = record_ ? static_cast<double>(record_->length()) : 1;
  double keys = value;
  // A fraction is of the prompt length, rounded up, as everywhere.
  if (unit() == BudgetUnit::percent) keys = std::ceil(value / 100 * length - 1e-9);
  if (unit() == BudgetUnit::mass) keys = budget_for(curves_.budgets, curves_.mean, value).value_or(length);
  return std::clamp(std::round(keys), 1.0, length);
}

double BudgetPage::slider_value(int position) const {
  const double f = static_cast<double>(position) / slider_steps;
  const double length = record_ ? static_cast<double>(record_->length()) : 1;
  // Mass is spaced by the mass that is left out, the others by the logarithm of the budget.
  if (unit() == BudgetUnit::mass) return 1 - (1 - lowest_p) * std::pow((1 - highest_p) / (1 - lowest_p), f);
  const double keys = std::pow(length, f);
  return unit() == BudgetUnit::percent ? 100 * keys / length : keys;
}

int BudgetPage::slider_position(double value) const {
  const double length = record_ ? static_cast<double>(record_->length()) : 1;
  double f = 0;
  if (unit() == BudgetUnit::mass) {
    f = std::log((1 - value) / (1 - lowest_p)) / std::log((1 - highest_p) / (1 - lowest_p));
  } else if (length > 1) {
    f = std::log(std::max(1.0, unit() == BudgetUnit::percent ? value / 100 * length : value)) / std::log(length);
  }
  return static_cast<int>(std::lround(std::clamp(f, 0.0, 1.0) * slider_steps));
}

void BudgetPage::configure_unit() {
  const QSignalBlocker block_spin(spin_), block_slider(slider_);
  const double length = record_ ? static_cast<double>(record_->length()) : 1;
  switch (unit()) {
    case BudgetUnit::tokens:
      spin_->setDecimals(0);
      spin_->setRange(1, length);
      spin_->setSuffix(tr(" keys"));
      spin_->setSingleStep(1);
      break;
    case BudgetUnit::percent:
      spin_->setDecimals(2);
      spin_->setRange(std::min(100.0, 100 / length), 100);
      spin_->setSuffix(tr(" %"));
      spin_->setSingleStep(0.5);
      break;
    case BudgetUnit::mass:
      spin_->setDecimals(3);
      spin_->setRange(lowest_p, highest_p);
      spin_->setSuffix(QString());
      spin_->setSingleStep(0.005);
      break;
  }
  spin_->setToolTip(
      unit() == BudgetUnit::mass
          ? tr("The smallest budget whose mean mass recall reaches p. A p-budget of a run sizes each row apart; this "
               "is the one k that gets there on average.")
          : tr("The most keys in a row's support."));
}

void BudgetPage::set_budget(double keys) {
  if (!record_) return;
  keys = std::clamp(std::round(keys), 1.0, static_cast<double>(record_->length()));
  selection()->change([&](ViewState& state) { state.budget = keys; }, QStringLiteral("budget"));
  show_budget();  // in the same frame; other views hear of it with the next tick
}

void BudgetPage::focus_budget() {
  slider_->setFocus(Qt::ShortcutFocusReason);
}

void BudgetPage::end_drag() {
  selection()->end_merge();
}

bool BudgetPage::has_content() const {
  return selection()->record() || selection()->sweep();
}

bool BudgetPage::settled() const {
  return PageBase::settled() && (part() != 2 || ship_->settled());
}

int BudgetPage::part() const {
  return std::clamp(selection()->state().sweep_look.page, 0, 2);
}

void BudgetPage::show_part() {
  {
    const QSignalBlocker blocker(tabs_);
    tabs_->setCurrentIndex(part());
  }
  const bool sweep = selection()->sweep() != nullptr;
  tabs_->setTabText(1, selection()->state().sweeps.size() > 1
                           ? tr("Sweeps (%1)").arg(selection()->state().sweeps.size())
                           : tr("Sweep"));
  const bool nothing = part() == 0 ? !record_ : part() == 1 ? !sweep : false;
  nothing_->setText(part() == 0
                        ? tr("<p><b>No run is open</b></p><p>What one prompt shows stands here; the sweep is on "
                             "the next tab.</p>")
                        : tr("<p><b>No sweep is open</b></p><p>A sweep scores many samples under dense and other "
                             "methods: it says with intervals which budget is enough. Open its <i>.h5</i> "
                             "file, or begin one.</p>"));
  parts_->setCurrentIndex(nothing ? 3 : part());
  if (nothing) return;
  if (part() == 1) sweep_->refresh();
  if (part() == 2) ship_->refresh();
}

QByteArray BudgetPage::budgets_json() const {
  return QByteArray::fromStdString(dump_json(record::to_json(layer_budgets_of({record_}, target_->value() / 100)))) +
         '\n';
}

void BudgetPage::refresh(unsigned mask) {
  const bool new_run = mask & Selection::Runs;
  record_ = selection()->record();
  if (mask & (Selection::Runs | Selection::Sweeps | Selection::Display)) show_part();
  if (!record_) return;
  if (new_run || mask & Selection::Display) {
    fill_choices();
    load_curves();
    show_display();
    show_markers();
    show_suggestions();
  } else if (mask & Selection::Layer && scope_->currentData().toInt() == -2) {
    load_curves();
  }
  if (mask & (Selection::Runs | Selection::Method))
    one_prompt_->setText(one_prompt_html(*record_, selection()->state()));
  show_budget();
}

void BudgetPage::restyle() {
  sweep_->restyle();
  ship_->restyle();
  side_->setFixedWidth(side_width());  // its texts grow with the font
  plot_->restyle();
  legend_->setText(plot_->legend_html());
  if (record_) one_prompt_->setText(one_prompt_html(*record_, selection()->state()));
}

void BudgetPage::fill_choices() {
  const QSignalBlocker block_stream(stream_), block_scope(scope_);
  const QString before = selection()->state().display.curve_stream;
  const int scope_before = selection()->state().display.curve_scope;
  stream_->clear();
  for (const auto& method : record_->methods())
    stream_->addItem(tr("%1 stream").arg(method_label(*record_, method)), QString::fromStdString(method.id));
  if (record_->methods().size() > 1) stream_->addItem(tr("All streams of this run"), QString(all_streams));
  std::size_t others = 0;
  for (const RecordPtr& run : selection()->state().runs) others += run != record_ && same_model(*run, *record_);
  if (others > 0) stream_->addItem(tr("Dense streams of %1 open runs").arg(others + 1), QString(all_runs));
  int index = stream_->findData(before);
  if (index < 0) {
    const auto* baseline = dense_of(*record_);
    index = baseline ? stream_->findData(QString::fromStdString(baseline->id)) : 0;
  }
  stream_->setCurrentIndex(std::max(0, index));
  scope_->clear();
  scope_->addItem(tr("All full layers"), -1);
  scope_->addItem(tr("The selected layer"), -2);
  for (int layer = 0; layer < record_->meta().num_layers(); ++layer)
    if (record_->meta().is_full(layer)) scope_->addItem(tr("Layer %1").arg(layer), layer);
  scope_->setCurrentIndex(std::max(0, scope_->findData(scope_before)));
}

void BudgetPage::load_curves() {
  stored_.reset();
  curves_ = {};
  problem_.clear();
  const int scope = scope_->currentData().toInt();
  const int layer = scope == -2 ? selection()->state().layer : scope;
  try {
    std::string stream = stream_->currentData().toString().toStdString();
    if (const auto* dense = dense_of(*record_); dense && !record_->find_method(stream)) stream = dense->id;
    stored_ = record_->mass_curves(stream);
    if (stored_) curves_ = recall_curves(*record_, *stored_, layer);
    if (curves_.empty()) problem_ = tr("This record holds no mass curves for this stream.");
  } catch (const std::exception& error) {
    problem_ = tr("The mass curves cannot be read: %1").arg(QString::fromUtf8(error.what()));
  }
  read_out_.knee = knee(curves_.budgets, curves_.mean);
  read_out_.for_90 = budget_for(curves_.budgets, curves_.mean, 0.90);
  read_out_.for_95 = budget_for(curves_.budgets, curves_.mean, 0.95);
  read_out_.for_99 = budget_for(curves_.budgets, curves_.mean, 0.99);
  load_beside(layer);
  plot_->set_curves(curves_, record_->length(), layer >= 0);
  legend_->setText(plot_->legend_html());
  low_.name->setText(layer >= 0 ? tr("worst row") : tr("worst layer"));
  p10_.name->setText(layer >= 0 ? tr("p10 row") : tr("p10, worst layer"));
  const QString where = layer >= 0 ? tr("layer %1").arg(layer) : tr(all_layers);
  source_->setText(problem_.isEmpty()
                       ? tr("Lines: what the best k keys hold in the %1, %2, none forced: the oracle's bound, computed "
                            "from mass alone and not a quality. Markers: what each method kept where it was run.")
                             .arg(beside_.empty() ? lowered(stream_->currentText()) : tr("dense stream"), where)
                       : problem_);
  knee_.value->setText(keys_text(read_out_.knee));
  if (read_out_.knee && !curves_.empty()) {
    const double at = *read_out_.knee;
    knee_cost_->setText(tr("At the knee the worst head keeps %1, one row in ten less than %2.")
                            .arg(format_percent(interpolate(curves_.budgets, curves_.worst_head, at), 1),
                                 format_percent(interpolate(curves_.budgets, curves_.p10, at), 1)));
  } else {
    knee_cost_->clear();
  }
  for_90_.value->setText(keys_text(read_out_.for_90));
  for_95_.value->setText(keys_text(read_out_.for_95));
  for_99_.value->setText(keys_text(read_out_.for_99));
  if (curves_.empty())
    for (const Row& row : {knee_, for_90_, for_95_, for_99_}) row.value->setText(QStringLiteral("–"));
}

std::vector<RecordPtr> BudgetPage::runs_together() const {
  if (stream_->currentData().toString() != all_runs) return {record_};
  std::vector<RecordPtr> runs{record_};
  for (const RecordPtr& run : selection()->state().runs)
    if (run != record_ && same_model(*run, *record_)) runs.push_back(run);
  return runs;
}

void BudgetPage::load_beside(int layer) {
  beside_.clear();
  const QString chosen = stream_->currentData().toString();
  const auto add = [&](const record::RunRecord& run, const record::MethodSummary* method, const QString& name,
                       int look) {
    try {
      const auto stored = method ? run.mass_curves(method->id) : nullptr;
      if (!stored) return;
      RecallCurves curves = recall_curves(run, *stored, layer);
      if (!curves.empty()) beside_.push_back({name, look, std::move(curves), run.length()});
    } catch (const std::exception&) {
      // Its own page says what is wrong with it.
    }
  };
  const auto* dense = dense_of(*record_);
  if (chosen == all_streams)
    for (const auto& method : record_->methods())
      if (&method != dense) add(*record_, &method, method_label(*record_, method), method.look);
  for (const RecordPtr& run : runs_together())
    if (run != record_) add(*run, dense_of(*run), prompt_label(*run), -1);
  plot_->set_beside(beside_, chosen == all_runs ? prompt_label(*record_) : tr("dense"));
}

void BudgetPage::show_markers() {
  std::vector<BudgetMarker> markers;
  // Runs of the same prompt and model add their points: that is how "Run this budget" fills the plot.
  for (const RecordPtr& run : selection()->state().runs) {
    if (run != record_ && !same_prompt(*run, *record_)) continue;
    for (const auto& method : run->methods()) {
      const auto keys = budget_keys(method);
      if (!keys || !std::isfinite(method.captured_mass_mean)) continue;
      markers.push_back({method.look, method_name(method), method_label(*run, method), *keys, method.density,
                         method.captured_mass_mean, method.answer_kl(), run == record_,
                         method.ttft.repeats > 0 ? std::optional(method.ttft.median) : std::nullopt});
    }
  }
  measured_->removeRows(0, measured_->rowCount());
  const auto together = runs_together();
  for (const RecordPtr& run : together) {
    for (const auto& method : run->methods()) {
      const auto keys = budget_keys(method);
      const auto item = [](const QString& text, const QVariant& sort, bool number = true) {
        auto* made = new QStandardItem(text);
        made->setData(sort, Qt::UserRole);
        if (number) made->setTextAlignment(Qt::AlignRight | Qt::AlignVCenter);
        return made;
      };
      const auto kl = method.answer_kl();
      const bool timed = method.ttft.repeats > 0;
      const QString label = together.size() > 1 ? tr("%1 · %2").arg(method_label(*run, method), prompt_label(*run))
                                                : method_label(*run, method);
      measured_->appendRow(
          {item(label, label, false),
           item(keys ? format_count(std::llround(*keys)) : QStringLiteral("–"), keys.value_or(1e12)),
           item(timed ? format_ms(method.ttft.median) : tr("not timed"), timed ? method.ttft.median : 1e12),
           item(format_percent(method.captured_mass_mean, 1), method.captured_mass_mean),
           item(format_percent(method.captured_mass_min, 1), method.captured_mass_min),
           item(kl ? format_number(*kl) : QStringLiteral("–"), kl.value_or(-1))});
    }
  }
  fit_table(measured_table_, 200);
  plot_->set_markers(std::move(markers));
  legend_->setText(plot_->legend_html());
}

void BudgetPage::show_budget() {
  if (!record_) return;
  const double keys = selection()->state().budget;
  read_out_.budget = keys;
  read_out_.density = density_of(record_->length(), keys);
  // Means run over rows with more history than the budget: of a budget that covers the prompt there is none.
  const auto at_budget = [&](const std::vector<double>& values) {
    return keys < static_cast<double>(record_->length()) ? interpolate(curves_.budgets, values, keys) : qQNaN();
  };
  read_out_.mean = at_budget(curves_.mean);
  read_out_.p10 = at_budget(curves_.p10);
  read_out_.low = at_budget(curves_.low);
  read_out_.worst_head = at_budget(curves_.worst_head);
  plot_->set_budget(keys);
  {
    const QSignalBlocker block_spin(spin_), block_slider(slider_);
    const double value = unit_value(keys);
    // What one is typing stays as typed while it means this budget.
    if (keys_of(spin_->value()) != std::round(keys)) spin_->setValue(value);
    if (!slider_->isSliderDown()) slider_->setValue(slider_position(value));
  }
  headline_->setText(
      tr("%1 keys · %2 of pairs · %3 of prompt")
          .arg(format_count(std::llround(keys)), format_percent(read_out_.density),
               format_percent(keys / static_cast<double>(std::max<std::int64_t>(1, record_->length())))));
  mean_.value->setText(format_percent(read_out_.mean, 1));
  p10_.value->setText(format_percent(read_out_.p10, 1));
  low_.value->setText(format_percent(read_out_.low, 1));
  worst_head_.value->setText(format_percent(read_out_.worst_head, 1));
  run_->setText(tr("Run %1 keys").arg(format_count(std::llround(keys))));
}

void BudgetPage::show_suggestions() {
  model_->removeRows(0, model_->rowCount());
  total_->clear();
  if (!record_ || !stored_) return;
  double density = 0;
  int count = 0, unreached = 0;
  for (const LayerBudget& entry : suggested_budgets(*record_, *stored_, target_->value() / 100)) {
    QList<QStandardItem*> row;
    const auto add = [&](const QString& text, double sort, Qt::Alignment alignment) {
      auto* item = new QStandardItem(text);
      item->setData(sort, Qt::UserRole);
      item->setTextAlignment(alignment | Qt::AlignVCenter);
      row << item;
    };
    add(QString::number(entry.layer), entry.layer, Qt::AlignRight);
    add(entry.reached ? format_count(std::llround(entry.budget)) : tr("all"), entry.budget, Qt::AlignRight);
    add(format_percent(entry.density), entry.density, Qt::AlignRight);
    add(format_percent(entry.worst_head, 1), entry.worst_head, Qt::AlignRight);
    model_->appendRow(row);
    density += entry.density;
    unreached += entry.reached ? 0 : 1;
    ++count;
  }
  fit_table(table_);
  if (count)
    total_->setText(tr("Together %1 of pairs%2")
                        .arg(format_percent(density / count),
                             unreached ? tr("; %1 layers need every key").arg(unreached) : QString()));
}

}  // namespace headroom::views
