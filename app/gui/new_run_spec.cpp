// SPDX-License-Identifier: GPL-3.0-or-later
// From the fields of the New run dialog to a RunSpec and back.
#include <QCheckBox>
#include <QComboBox>
#include <QDateTime>
#include <QDir>
#include <QFile>
#include <QFileInfo>
#include <QLabel>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QSpinBox>
#include <QStandardPaths>
#include <QTabWidget>
#include <QVBoxLayout>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "gui/engine_client.h"
#include "gui/field_lists.h"
#include "gui/new_run_dialog.h"
#include "views/common/flow_layout.h"
#include "views/common/page_base.h"

namespace headroom::gui {
namespace {

std::string read_prompt(const QString& path) {
  constexpr qint64 max_bytes = 16 << 20;
  QFile file(path);
  if (!file.open(QIODevice::ReadOnly))
    throw input_error(path.toStdString(), "the prompt cannot be read", {}, file.errorString().toStdString());
  if (file.size() > max_bytes) throw input_error(path.toStdString(), "the prompt is too large", "16 MB at most", {});
  return file.readAll().toStdString();
}

}  // namespace

QString new_record_path() {
  const QString folder = QStandardPaths::writableLocation(QStandardPaths::GenericDataLocation) + "/headroom/runs";
  QDir().mkpath(folder);
  const QString stem = folder + "/run-" + QDateTime::currentDateTime().toString("yyyyMMdd-HHmmss");
  QString file = stem + ".h5";
  for (int i = 2; QFileInfo::exists(file); ++i) file = QString("%1-%2.h5").arg(stem).arg(i);
  return file;
}

void place_on_engine(protocol::RunSpec& spec, const EngineClient& engine) {
  const auto& folders = engine.hello().folders;
  if (!engine.remote() || folders.empty() || !spec.out) return;
  spec.out = folders.front() + "/headroom-" + QFileInfo(QString::fromStdString(*spec.out)).fileName().toStdString();
}

std::optional<protocol::RunSpec> spec_with_budget(const record::RunRecord& record, std::int64_t tokens) {
  try {
    protocol::RunSpec spec = protocol::run_spec_from_json(nlohmann::json::parse(record.meta().spec_json));
    spec.budgets = {{BudgetKind::tokens, static_cast<double>(tokens)}};
    if (spec.methods.empty()) {  // what ran by default there, whatever would here
      for (const record::MethodSummary& method : record.methods())
        if (std::find(spec.methods.begin(), spec.methods.end(), method.name) == spec.methods.end())
          spec.methods.push_back(method.name);
    }
    spec.out = new_record_path().toStdString();
    return spec;
  } catch (const std::exception&) {
    return std::nullopt;  // a record of another program: the dialog asks
  }
}

void NewRunDialog::show_layer_budgets() {
  const auto& budgets = kept_.layer_budgets;
  by_layer_->setEnabled(budgets.has_value());
  by_layer_->setText(budgets
                         ? tr("%1: %2 keys a layer in the mean")
                               .arg(budgets->source.empty() ? tr("budgets") : QString::fromStdString(budgets->source))
                               .arg(budgets->mean())
                         : tr("none; or a budget.json"));
  by_layer_->setToolTip(budgets ? QString::fromStdString(budgets->text()) : QString());
  by_layer_->setChecked(budgets.has_value());
}

void NewRunDialog::fill(const protocol::RunSpec& spec) {
  kept_ = spec;
  show_layer_budgets();
  model_->setEditText(QString::fromStdString(spec.model));
  adapter_->setText(QString::fromStdString(spec.adapter.value_or("")));
  prompt_text_->setPlainText(QString::fromStdString(spec.prompt.value_or("")));
  prompt_file_->setText(QString::fromStdString(spec.prompt_file.value_or("")));
  if (spec.task) {
    const QString name = QString::fromStdString(*spec.task);
    if (task_->findData(name) < 0) task_->addItem(name, name);
    task_->setCurrentIndex(task_->findData(name));
  }
  task_length_->setValue(
      static_cast<int>(std::clamp<std::int64_t>(spec.length == 0 ? 2048 : spec.length, 128, 1 << 20)));
  seed_->setValue(static_cast<int>(std::min<std::uint64_t>(spec.seed, 1000000000)));
  prompt_tabs_->setCurrentIndex(spec.prompt ? 0 : spec.prompt_file ? 1 : 2);
  chat_->setChecked(spec.chat);
  wanted_methods_ = spec.methods;
  methods_chosen_ = !spec.methods.empty();
  QStringList budgets;
  for (const Budget& budget : spec.budgets) budgets << QString::fromStdString(to_string(budget));
  budgets_->setText(budgets.join(", "));
  granularity_->setText(comma_list(spec.granularities));
  dense_layers_->setText(comma_list(spec.dense_layers));
  indexer_->setText(QString::fromStdString(spec.indexer.value_or("")));
  device_->clear();
  device_->addItem(tr("the best there is"), "auto");
  if (spec.device != "auto") device_->addItem(QString::fromStdString(spec.device), QString::fromStdString(spec.device));
  device_->setCurrentIndex(device_->count() - 1);
  dtype_->setCurrentIndex(std::max(dtype_->findData(QString::fromStdString(spec.dtype)), 0));
  repeats_->setValue(spec.repeats);
  baselines_ = spec.baselines;
  libraries_->setChecked(!baselines_.empty());
  max_new_tokens_->setValue(static_cast<int>(spec.max_new_tokens.value_or(-1)));
  out_->setText(QString::fromStdString(spec.out.value_or("")));
  fill_exact_maps(spec);
}

void NewRunDialog::list_tasks() {
  const auto& known = engine_.hello().tasks;
  if (known.empty()) return;  // an earlier engine: what is there stays
  const QSignalBlocker blocker(task_);
  const QVariant chosen = task_->currentData();
  task_->clear();
  for (const protocol::TaskChoice& task : known) {
    const QString name = QString::fromStdString(task.name);
    task_->addItem(tr("%1 (%2)").arg(QString::fromStdString(task.title), name), name);
    task_->setItemData(task_->count() - 1, QString::fromStdString(task.definition), Qt::ToolTipRole);
  }
  // One that this engine does not know stays all the same: it refuses it by name.
  if (task_->findData(chosen) < 0) task_->addItem(chosen.toString(), chosen);
  task_->setCurrentIndex(task_->findData(chosen));
}

void NewRunDialog::list_methods() {
  while (QLayoutItem* item = method_list_->takeAt(0)) {
    delete item->widget();  // a group with its boxes
    delete item;
  }
  methods_.clear();
  const auto wanted = [this](const std::string& name) {
    return std::find(wanted_methods_.begin(), wanted_methods_.end(), name) != wanted_methods_.end();
  };
  // Groups in columns: a list of sixteen would be longer than a small screen is high.
  struct Group {
    QString title;
    QWidget* box = nullptr;
    std::vector<QCheckBox*> checks = {};
  };
  Group groups[] = {{tr("Usual")}, {tr("Need an indexer")}, {tr("Further")}};
  const auto add = [&](const protocol::MethodInfo& info, const std::string& name, const QString& label, bool on) {
    Group& group = groups[info.is_default ? 0 : info.needs_index ? 1 : 2];
    if (!group.box) {
      group.box = new QWidget(method_list_->parentWidget());
      auto* column = new QVBoxLayout(group.box);
      column->setContentsMargins(0, 0, 0, 0);
      column->setSpacing(2);
      column->addWidget(views::make_note(group.title, group.box));
      column->addLayout(new views::FlowLayout(nullptr, 12, 3));
    }
    auto* check = new QCheckBox(label, group.box);
    check->setObjectName(QString::fromStdString("method_" + name));
    check->setToolTip(QString::fromStdString(info.definition));
    check->setChecked(on || (with_index_ && info.needs_index));
    group.box->layout()->itemAt(1)->layout()->addWidget(check);
    group.checks.push_back(check);
    methods_.push_back({check, name, info.needs_index});
    connect(check, &QCheckBox::toggled, this, &NewRunDialog::edited);
  };
  std::vector<std::string> unknown = wanted_methods_;  // ticked all the same: the engine refuses them by name
  for (const protocol::MethodInfo& info : engine_.hello().methods) {
    std::erase_if(unknown, [&](const std::string& name) { return name.substr(0, name.find(':')) == info.name; });
    const QString title = QString::fromStdString(info.title);
    add(info, info.name, title, methods_chosen_ ? wanted(info.name) : info.is_default);
    for (const std::string& name : wanted_methods_) {
      if (!name.starts_with(info.name + ":")) continue;
      const std::string parameters = name.substr(info.name.size() + 1);
      add(info, name, tr("%1 (%2)").arg(title, QString::fromStdString(parameters)), true);
    }
  }
  for (const std::string& name : unknown) add({}, name, QString::fromStdString(name), true);
  for (Group& group : groups) {
    if (!group.box) continue;
    method_list_->addWidget(group.box);
    int widest = 0;
    for (QCheckBox* check : group.checks) widest = std::max(widest, check->sizeHint().width());
    for (QCheckBox* check : group.checks) check->setMinimumWidth(widest);  // columns that line up
  }
  with_index_ = false;
}

std::optional<std::string> NewRunDialog::adapter() const {
  const std::string path = adapter_->text().trimmed().toStdString();
  return path.empty() ? std::nullopt : std::optional(path);
}

std::vector<std::string> NewRunDialog::ticked_methods() const {
  std::vector<std::string> names;
  for (const MethodBox& method : methods_)
    if (method.check->isChecked()) names.push_back(method.name);
  return names;
}

protocol::RunSpec NewRunDialog::spec() const {
  protocol::RunSpec spec = kept_;
  spec.model = model_->currentText().trimmed().toStdString();
  if (spec.model.empty()) throw usage_error(tr("Model: choose one").toStdString());
  spec.adapter = adapter();
  spec.prompt.reset();
  spec.prompt_file.reset();
  spec.task.reset();
  spec.prompts.reset();
  spec.index = 0;
  spec.length = 0;
  switch (prompt_tabs_->currentIndex()) {
    case 0:
      if (prompt_text_->toPlainText().isEmpty()) throw usage_error(tr("Prompt: type or paste one").toStdString());
      spec.prompt = prompt_text_->toPlainText().toStdString();
      break;
    case 1:
      if (prompt_file_->text().trimmed().isEmpty()) throw usage_error(tr("Prompt: choose a file").toStdString());
      if (engine_.remote()) {
        spec.prompt = read_prompt(prompt_file_->text().trimmed());  // the file lies here, not there
      } else {
        spec.prompt_file = prompt_file_->text().trimmed().toStdString();
      }
      break;
    default:
      spec.task = task_->currentData().toString().toStdString();
      spec.length = task_length_->value();
  }
  if (spec.task != kept_.task) spec.haystack.reset();
  spec.seed = static_cast<std::uint64_t>(seed_->value());
  spec.chat = chat_->isChecked();
  spec.methods = methods_.empty() ? wanted_methods_ : ticked_methods();
  if (spec.methods.empty() && !methods_.empty()) throw usage_error(tr("Methods: choose at least one").toStdString());
  spec.budgets.clear();
  if (!by_layer_->isChecked()) spec.layer_budgets.reset();
  for (const QString& budget : words_of(budgets_->text())) spec.budgets.push_back(parse_budget(budget.toStdString()));
  spec.granularities = whole_numbers(*granularity_, tr("Shared by"));
  spec.dense_layers.clear();
  for (const std::int64_t layer : whole_numbers(*dense_layers_, tr("Dense layers")))
    spec.dense_layers.push_back(static_cast<int>(std::clamp<std::int64_t>(layer, -1, 100000)));
  if (spec.layer_budgets)
    for (const int layer : spec.dense_layers) spec.layer_budgets->keys.erase(layer);
  spec.indexer.reset();
  if (!indexer_->text().trimmed().isEmpty()) spec.indexer = indexer_->text().trimmed().toStdString();
  spec.device = device_->currentData().toString().toStdString();
  spec.dtype = dtype_->currentData().toString().toStdString();
  spec.repeats = repeats_->value();
  spec.baselines.clear();
  if (libraries_->isChecked()) spec.baselines = baselines_.empty() ? std::vector<std::string>{"all"} : baselines_;
  spec.max_new_tokens.reset();
  if (max_new_tokens_->value() >= 0) spec.max_new_tokens = max_new_tokens_->value();
  if (out_->text().trimmed().isEmpty()) throw usage_error(tr("Record: name a file").toStdString());
  spec.out = out_->text().trimmed().toStdString();
  read_exact_maps(spec);
  protocol::validate(spec);
  return spec;
}

}  // namespace headroom::gui
