// SPDX-License-Identifier: GPL-3.0-or-later
// From the fields of the New sweep dialog to a SweepSpec and back.
#include <QCheckBox>
#include <QComboBox>
#include <QDateTime>
#include <QDir>
#include <QFileInfo>
#include <QLineEdit>
#include <QListWidget>
#include <QSpinBox>
#include <QStandardPaths>
#include <QTabWidget>
#include <algorithm>

#include "base/error.h"
#include "gui/engine_client.h"
#include "gui/field_lists.h"
#include "gui/file_names.h"
#include "gui/new_sweep_dialog.h"

namespace headroom::gui {
namespace {

bool among(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

void add_check(QListWidget& list, const QString& text, const std::string& name, const QString& tip, bool on) {
  auto* item = new QListWidgetItem(text, &list);
  item->setData(Qt::UserRole, QString::fromStdString(name));
  item->setToolTip(tip);
  item->setFlags(Qt::ItemIsEnabled | Qt::ItemIsUserCheckable | Qt::ItemIsSelectable);
  item->setCheckState(on ? Qt::Checked : Qt::Unchecked);
}

}  // namespace

QString new_sweep_path() {
  const QString folder = QStandardPaths::writableLocation(QStandardPaths::GenericDataLocation) + "/headroom/sweeps";
  QDir().mkpath(folder);
  const QString stem = folder + "/sweep-" + QDateTime::currentDateTime().toString("yyyyMMdd-HHmmss");
  QString file = stem + ".h5";
  for (int i = 2; QFileInfo::exists(file) || QFileInfo::exists(file + ".rows.jsonl"); ++i)
    file = QString("%1-%2.h5").arg(stem).arg(i);
  return file;
}

std::string method_word(const record::SweepMethod& method) {
  std::string word = method.name;
  for (const auto& [name, value] : method.parameters)
    if (name != "layer_budgets" && name != "seed") word += ":" + name + "=" + value;
  return word;
}

protocol::SweepSpec confirming_spec(const record::SweepMeta& meta, const std::string& model,
                                    const std::optional<std::string>& prompts) {
  protocol::SweepSpec spec;
  spec.model = model;
  spec.budgets.clear();
  spec.granularities.clear();
  const auto add = [](auto& list, const auto& value) {
    if (std::find(list.begin(), list.end(), value) == list.end()) list.push_back(value);
  };
  for (const auto& method : meta.methods) {
    if (method.is_dense() || method.parameters.contains("layer_budgets")) continue;
    add(spec.methods, method_word(method));
    if (method.budget) add(spec.budgets, *method.budget);
    add(spec.granularities, method.granularity);
  }
  if (spec.granularities.empty()) spec.granularities = {1};
  spec.dense_layers = meta.dense_layers;
  spec.max_new_tokens = meta.max_new_tokens;
  spec.prompt_tail = meta.prompt_tail;
  if (meta.is_own_prompts()) {
    spec.prompts = prompts;
  } else {
    for (const auto& task : meta.tasks) spec.tasks.push_back(task.name);
    spec.lengths = meta.lengths;
    spec.samples = meta.samples;
    spec.calibration = meta.calibration;
    spec.seed = static_cast<std::uint64_t>(meta.seed + meta.samples);
  }
  spec.out = new_sweep_path().toStdString();
  return spec;
}

void NewSweepDialog::fill(const protocol::SweepSpec& spec) {
  kept_ = spec;
  model_->setEditText(QString::fromStdString(spec.model));
  wanted_tasks_ = spec.tasks;
  wanted_methods_ = spec.methods;
  lengths_->setText(comma_list(spec.lengths));
  samples_->setValue(static_cast<int>(std::clamp<std::int64_t>(spec.samples, 1, 100000)));
  seed_->setValue(static_cast<int>(std::min<std::uint64_t>(spec.seed, 999'000'000)));
  calibration_->setValue(static_cast<int>(std::clamp<std::int64_t>(spec.calibration, 0, 1000)));
  prompts_->setText(QString::fromStdString(spec.prompts.value_or("")));
  source_->setCurrentIndex(spec.prompts ? 1 : 0);
  QStringList budgets;
  for (const Budget& budget : spec.budgets) budgets << QString::fromStdString(to_string(budget));
  budgets_->setText(budgets.join(", "));
  granularity_->setText(comma_list(spec.granularities));
  dense_layers_->setText(comma_list(spec.dense_layers));
  indexer_->setText(QString::fromStdString(spec.indexer.value_or("")));
  const auto by_layer = spec.layer_budgets;
  layer_budgets_->setText(by_layer ? QString::fromStdString(by_layer->source) : QString());
  kept_.layer_budgets = by_layer;
  device_->clear();
  device_->addItem(tr("the best there is"), "auto");
  if (spec.device != "auto") device_->addItem(QString::fromStdString(spec.device), QString::fromStdString(spec.device));
  device_->setCurrentIndex(device_->count() - 1);
  dtype_->setCurrentIndex(std::max(dtype_->findData(QString::fromStdString(spec.dtype)), 0));
  out_->setText(QString::fromStdString(spec.out));
  resume_->setChecked(spec.resume);
}

void NewSweepDialog::engine_changed() {
  if (engine_.state() == EngineClient::State::ready) {
    const QString model = model_->currentText();
    const QString device = device_->currentData().toString();
    const QSignalBlocker blockers[] = {QSignalBlocker(model_), QSignalBlocker(device_)};
    model_->clear();
    for (const protocol::KnownModel& known : engine_.hello().models)
      model_->addItem(QString::fromStdString(known.name));
    model_->setEditText(model);
    device_->clear();
    device_->addItem(tr("the best there is"), "auto");
    for (const protocol::DeviceInfo& known : engine_.hello().devices)
      device_->addItem(QString::fromStdString(known.id), QString::fromStdString(known.id));
    device_->setCurrentIndex(std::max(device_->findData(device), 0));
    list_tasks();
    list_methods();
    // A place of this machine means nothing there; one that was typed, or that a sweep is to go on with, stays.
    if (engine_.remote() && !engine_.hello().folders.empty() && out_->text() == own_out_) {
      own_out_ = QString::fromStdString(engine_.hello().folders.front()) + "/headroom-" +
                 QFileInfo(new_sweep_path()).fileName();
      out_->setText(own_out_);
    }
  }
  edited();
}

void NewSweepDialog::list_tasks() {
  const QSignalBlocker blocker(tasks_);
  if (tasks_listed_) wanted_tasks_ = ticked(*tasks_);
  tasks_->clear();
  for (const protocol::TaskChoice& task : engine_.hello().tasks)
    add_check(*tasks_, tr("%1 (%2)").arg(QString::fromStdString(task.title), QString::fromStdString(task.name)),
              task.name, QString::fromStdString(task.definition), among(wanted_tasks_, task.name));
  // One that this engine does not know stays all the same: it refuses it by name.
  for (const std::string& name : wanted_tasks_) {
    const auto& known = engine_.hello().tasks;
    if (std::none_of(known.begin(), known.end(), [&](const auto& task) { return task.name == name; }))
      add_check(*tasks_, QString::fromStdString(name), name, {}, true);
  }
  tasks_listed_ = true;
}

void NewSweepDialog::list_methods() {
  const QSignalBlocker blocker(methods_);
  if (methods_listed_) wanted_methods_ = ticked(*methods_);
  methods_->clear();
  const bool usual = wanted_methods_.empty() && !methods_listed_;
  for (const protocol::MethodInfo& info : engine_.hello().methods) {
    if (info.name == "dense") continue;  // is always there
    add_check(*methods_, QString::fromStdString(info.title), info.name, QString::fromStdString(info.definition),
              usual ? info.is_default : among(wanted_methods_, info.name));
    for (const std::string& name : wanted_methods_)
      if (name.starts_with(info.name + ":"))
        add_check(*methods_,
                  tr("%1 (%2)").arg(QString::fromStdString(info.title),
                                    QString::fromStdString(name.substr(info.name.size() + 1))),
                  name, QString::fromStdString(info.definition), true);
  }
  methods_listed_ = true;
}

std::vector<std::string> NewSweepDialog::ticked(const QListWidget& list) const {
  std::vector<std::string> names;
  for (int i = 0; i < list.count(); ++i)
    if (list.item(i)->checkState() == Qt::Checked)
      names.push_back(list.item(i)->data(Qt::UserRole).toString().toStdString());
  return names;
}

protocol::SweepSpec NewSweepDialog::spec() const {
  protocol::SweepSpec spec = kept_;
  spec.model = model_->currentText().trimmed().toStdString();
  if (spec.model.empty()) throw usage_error(tr("Model: choose one").toStdString());
  spec.tasks.clear();
  spec.lengths.clear();
  spec.prompts.reset();
  if (source_->currentIndex() == 0) {
    spec.tasks = tasks_listed_ ? ticked(*tasks_) : wanted_tasks_;
    if (spec.tasks.empty()) throw usage_error(tr("Tasks: choose at least one").toStdString());
    spec.lengths = whole_numbers(*lengths_, tr("Lengths"));
    if (spec.lengths.empty()) throw usage_error(tr("Lengths: name at least one, e.g. 2048").toStdString());
    for (const std::int64_t length : spec.lengths)
      if (length < 1) throw usage_error(tr("Lengths: at least 1 token").toStdString());
    spec.samples = samples_->value();
    spec.seed = static_cast<std::uint64_t>(seed_->value());
    spec.calibration = calibration_->value();
  } else {
    if (prompts_->text().trimmed().isEmpty()) throw usage_error(tr("Prompts: choose a file or a folder").toStdString());
    spec.prompts = prompts_->text().trimmed().toStdString();
    spec.haystack.reset();
  }
  spec.methods = methods_listed_ ? ticked(*methods_) : wanted_methods_;
  if (spec.methods.empty() && methods_listed_) throw usage_error(tr("Methods: choose at least one").toStdString());
  spec.budgets.clear();
  for (const QString& budget : words_of(budgets_->text())) spec.budgets.push_back(parse_budget(budget.toStdString()));
  spec.dense_layers.clear();
  for (const std::int64_t layer : whole_numbers(*dense_layers_, tr("Dense layers")))
    spec.dense_layers.push_back(static_cast<int>(std::clamp<std::int64_t>(layer, 0, 100000)));
  const QString by_layer = layer_budgets_->text().trimmed();
  if (by_layer.isEmpty()) {
    spec.layer_budgets.reset();
  } else if (!kept_.layer_budgets) {  // a file; else what the window gave
    const BudgetFile file = read_budget_file(path_of(by_layer));
    spec.layer_budgets = file.budgets;
    for (const int layer : file.dense_layers)
      if (std::find(spec.dense_layers.begin(), spec.dense_layers.end(), layer) == spec.dense_layers.end())
        spec.dense_layers.push_back(layer);
  }
  if (spec.layer_budgets)
    for (const int layer : spec.dense_layers) spec.layer_budgets->keys.erase(layer);
  if (spec.budgets.empty() && !spec.layer_budgets)
    throw usage_error(tr("Budgets: name at least one, e.g. 512").toStdString());
  spec.granularities = whole_numbers(*granularity_, tr("Shared by"));
  if (spec.granularities.empty()) spec.granularities = {1};
  spec.indexer.reset();
  if (!indexer_->text().trimmed().isEmpty()) spec.indexer = indexer_->text().trimmed().toStdString();
  spec.device = device_->currentData().toString().toStdString();
  spec.dtype = dtype_->currentData().toString().toStdString();
  if (out_->text().trimmed().isEmpty()) throw usage_error(tr("File: name one for the sweep").toStdString());
  spec.out = out_->text().trimmed().toStdString();
  spec.resume = resume_->isChecked();
  return spec;
}

}  // namespace headroom::gui
