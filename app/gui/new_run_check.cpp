// SPDX-License-Identifier: GPL-3.0-or-later
// What the New run dialog asks of the engine: facts of the model, needs of the run, the end of the rendered prompt.
#include <QCheckBox>
#include <QComboBox>
#include <QFileInfo>
#include <QLabel>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QPointer>
#include <QPushButton>
#include <algorithm>

#include "base/error.h"
#include "gui/engine_client.h"
#include "gui/model_fetch.h"
#include "gui/new_run_dialog.h"
#include "gui/settings_store.h"
#include "views/common/format.h"
#include "views/common/theme.h"

namespace headroom::gui {
namespace {

/// Group boxes give wrapped labels too little: ask for what the text takes at its present width.
void fit_height(QLabel& label) {
  label.setMinimumHeight(label.text().isEmpty() ? 0 : label.heightForWidth(std::max(label.width(), 200)));
}

QString bytes_text(std::int64_t bytes) {
  return views::number_locale().formattedDataSize(bytes, 1, QLocale::DataSizeSIFormat);
}

/// A number of the inspection, under any of the names, in the object or one level down.
std::optional<std::int64_t> find_number(const nlohmann::json& json, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (const auto found = json.find(name); found != json.end() && found->is_number_integer())
      return found->get<std::int64_t>();
  }
  return std::nullopt;
}

QString find_text(const nlohmann::json& json, const char* name) {
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? QString::fromStdString(found->get<std::string>()).left(120)
                                                   : QString();
}

QString model_text(const nlohmann::json& info) {
  if (!info.is_object()) return {};
  QStringList parts;
  if (const QString name = find_text(info, "name"); !name.isEmpty()) parts << name;
  if (const QString kind = find_text(info, "architecture"); !kind.isEmpty()) parts << kind;
  if (const auto layers = info.find("layers"); layers != info.end() && layers->is_array()) {
    parts << QObject::tr("%1 layers").arg(layers->size());
  } else if (const auto count = find_number(info, {"layers", "num_layers"})) {
    parts << QObject::tr("%1 layers").arg(*count);
  }
  const auto heads = find_number(info, {"num_q_heads", "q_heads", "heads"});
  const auto kv_heads = find_number(info, {"num_kv_heads", "kv_heads"});
  if (heads && kv_heads) parts << QObject::tr("%1:%2 heads").arg(*heads).arg(*kv_heads);
  if (const auto context = find_number(info, {"context", "context_length"})) {
    parts << QObject::tr("%1 tokens of context").arg(views::number_locale().toString(qlonglong(*context)));
  }
  return parts.join(" · ");
}

}  // namespace

void NewRunDialog::engine_changed() {
  if (engine_.state() == EngineClient::State::ready) {
    const QString model = model_->currentText();
    {
      const QSignalBlocker blocker(model_);
      model_->clear();
      for (const protocol::KnownModel& known : engine_.hello().models)
        model_->addItem(QString::fromStdString(known.name));
      model_->setEditText(model);
    }
    const QString device = device_->currentData().toString();
    const QSignalBlocker blocker(device_);
    device_->clear();
    device_->addItem(tr("the best there is"), "auto");
    device_->setItemData(0, QString::fromStdString(engine_.hello().device_note), Qt::ToolTipRole);
    for (const protocol::DeviceInfo& known : engine_.hello().devices) {
      device_->addItem(QString::fromStdString(known.id), QString::fromStdString(known.id));
      device_->setItemData(device_->count() - 1, QString::fromStdString(known.name), Qt::ToolTipRole);
    }
    device_->setCurrentIndex(std::max(device_->findData(device), 0));
    if (!methods_.empty()) {
      wanted_methods_ = ticked_methods();
      methods_chosen_ = true;
    }
    list_methods();
    list_tasks();
    if (engine_.remote()) prepare_remote();
  }
  edited();
}

void NewRunDialog::prepare_remote() {
  // Paths mean the engine's disk there; the record is written where it may be fetched from.
  const auto& folders = engine_.hello().folders;
  if (!folders.empty())
    out_->setText(QString::fromStdString(folders.front()) + "/headroom-" + QFileInfo(new_record_path()).fileName());
}

void NewRunDialog::edited() {
  if (!start_ || !tail_) return;  // still being built
  ++generation_;
  indexer_help_->hide();
  fetch_->offer({});
  try {
    const protocol::RunSpec now = spec();
    if (engine_.state() != EngineClient::State::ready) {
      show_message(engine_.state() == EngineClient::State::starting
                       ? tr("The engine is starting…")
                       : tr("The engine is not running: start it from the Engine menu."),
                   engine_.state() == EngineClient::State::starting);
      needs_->clear();
      tail_->clear();
      start_->setEnabled(false);
      return;
    }
    settings_.set_last_spec(
        QString::fromStdString(protocol::to_json(now).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
    start_->setEnabled(true);
    // What was said of the last prompt does not stand beside this one.
    needs_->clear();
    tail_->clear();
    show_message(tr("Checking what this needs…"), true);
    debounce_.start();
  } catch (const Error& error) {
    debounce_.stop();
    start_->setEnabled(false);
    needs_->clear();
    tail_->clear();
    show_message(QString::fromUtf8(error.what()), false);
  }
  if (model_facts_->text().isEmpty() && engine_.state() == EngineClient::State::ready) debounce_.start();
}

void NewRunDialog::model_changed() {
  const std::string model = model_->currentText().trimmed().toStdString();
  if (model.empty()) return;
  engine_.request(protocol::method::model_inspect, protocol::to_json(protocol::ModelInspectParams{model, adapter()}),
                  [self = QPointer<NewRunDialog>(this), asked = model_generation_](const nlohmann::json& info,
                                                                                   const protocol::ErrorInfo* error) {
                    if (!self || asked != self->model_generation_) return;
                    if (error) return self->model_facts_->setText(QString::fromStdString(error->line()));
                    self->model_facts_->setText(model_text(info));
                    self->show_model(info);
                  });
}

void NewRunDialog::show_model(const nlohmann::json& info) {
  if (!info.is_object()) return;
  if (const auto shipped = info.find("shipped_indexer"); shipped != info.end()) {
    const bool there = shipped->is_string();
    indexer_->setPlaceholderText(there ? tr("the one that ships for this model") : tr("none ships for this model"));
  }
  const auto tokenizer = info.find("tokenizer");
  if (tokenizer == info.end() || !tokenizer->is_object()) return;
  const auto chat = tokenizer->find("chat_template");
  const bool no_template = chat != tokenizer->end() && chat->is_boolean() && !chat->get<bool>();
  chat_->setEnabled(!no_template);
  chat_->setText(no_template ? tr("This model has no chat template") : tr("Wrap in the model's chat template"));
  if (no_template) chat_->setChecked(false);
}

void NewRunDialog::check() {
  if (engine_.state() != EngineClient::State::ready) return;
  if (model_facts_->text().isEmpty()) model_changed();
  protocol::RunSpec now;
  try {
    now = spec();
  } catch (const Error&) {
    return;  // edited() has said so
  }
  engine_.request(
      protocol::method::run_preflight, protocol::to_json(protocol::RunStartParams{now}),
      [self = QPointer<NewRunDialog>(this), asked = generation_](const nlohmann::json& result,
                                                                 const protocol::ErrorInfo* error) {
        if (!self || asked != self->generation_) return;
        if (error) return self->show_error(*error);
        try {
          self->show_preflight(protocol::preflight_from_json(result));
        } catch (const Error& bad) {
          self->show_message(QString::fromUtf8(bad.what()), false);
        }
      },
      120000);
}

void NewRunDialog::show_preflight(const protocol::Preflight& p) {
  QStringList parts{tr("%1 of %2 tokens")
                        .arg(views::number_locale().toString(qlonglong(p.tokens)),
                             views::number_locale().toString(qlonglong(p.context)))};
  if (!p.device.empty()) parts << tr("%1, %2").arg(QString::fromStdString(p.device), QString::fromStdString(p.dtype));
  if (p.memory_needed > 0) {
    parts << (p.memory_free > 0
                  ? tr("%1 of memory (%2 free)").arg(bytes_text(p.memory_needed), bytes_text(p.memory_free))
                  : tr("%1 of memory").arg(bytes_text(p.memory_needed)));
  }
  if (p.host_needed > 0)
    parts << tr("%1 of the host's memory (%2 free)").arg(bytes_text(p.host_needed), bytes_text(p.host_free));
  if (p.record_bytes > 0)
    parts << tr("record up to %1 (%2 free)").arg(bytes_text(p.record_bytes), bytes_text(p.disk_free));
  if (p.seconds > 0) {
    const auto seconds = static_cast<qint64>(p.seconds);
    parts << (seconds < 120 ? tr("about\u00a0%1\u00a0s").arg(std::max<qint64>(seconds, 1))
                            : tr("about\u00a0%1\u00a0min").arg(seconds / 60));
  }
  QString text = parts.join(" · ");
  if (!p.methods.empty()) {
    QStringList ids;
    for (const std::string& id : p.methods) ids << QString::fromStdString(id);
    text += "\n" + tr("Runs %1.").arg(ids.join(", "));
  }
  // "exact maps of 4 of 30 layers": what comes of the field, before it is paid for.
  if (const QString keeps = QString::fromStdString(p.keeps); keeps.contains(QLatin1String("exact maps")))
    text += "\n" + tr("The record keeps %1.").arg(keeps.mid(keeps.indexOf(QLatin1String("exact maps"))));
  needs_->setText(text);
  needs_->setToolTip(p.keeps.empty() ? QString() : tr("The record keeps: %1").arg(QString::fromStdString(p.keeps)));
  fit_height(*needs_);
  tail_->setPlainText(QString::fromStdString(p.prompt_tail));
  tail_->moveCursor(QTextCursor::End);
  if (p.warnings.empty()) {
    show_message(tr("Ready to start. The box shows the end of the prompt as the model will see it."), true);
  } else {
    QStringList warnings;
    for (const std::string& warning : p.warnings) warnings << QString::fromStdString(warning);
    show_message(warnings.join('\n'), false);
  }
}

void NewRunDialog::show_error(const protocol::ErrorInfo& error) {
  needs_->clear();
  fit_height(*needs_);
  tail_->clear();
  start_->setEnabled(false);
  const QString text = QString::fromStdString(error.line());
  show_message(text, false);
  // The engine's models are those of its own machine.
  fetch_->offer(engine_.remote() ? QString() : ModelFetch::missing_model(text));
  const bool wants_index = std::any_of(methods_.begin(), methods_.end(), [](const MethodBox& method) {
    return method.needs_index && method.check->isChecked();
  });
  indexer_help_->setVisible(wants_index && indexer_->text().trimmed().isEmpty() &&
                            text.contains("indexer", Qt::CaseInsensitive));
}

void NewRunDialog::show_message(const QString& text, bool good) {
  const views::Theme& theme = views::Theme::instance();
  QPalette palette = message_->palette();
  palette.setColor(QPalette::Window, good ? theme.info_background() : theme.warning_background());
  message_->setPalette(palette);
  message_->setText(text);
  fit_height(*message_);
}

void ask_new_run(QWidget* parent, EngineClient& engine, SettingsStore& settings, const NewRunRequest& request,
                 std::function<void(const protocol::RunSpec&)> start,
                 std::function<void(const std::string&, const std::optional<std::string>&)> distill) {
  auto* dialog = new NewRunDialog(engine, settings, request, parent);
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  QObject::connect(dialog, &QDialog::accepted, dialog, [dialog, start = std::move(start)] {
    try {
      start(dialog->spec());
    } catch (const Error&) {
      // The start button is off while the fields do not make a spec.
    }
  });
  QObject::connect(dialog, &NewRunDialog::distill_requested, dialog,
                   [dialog, distill = std::move(distill)](const std::string& model,
                                                          const std::optional<std::string>& adapter) {
                     dialog->reject();
                     distill(model, adapter);
                   });
  dialog->open();
}

}  // namespace headroom::gui
