// SPDX-License-Identifier: GPL-3.0-or-later
// The dialog's widgets; what they say as a SweepSpec is in new_sweep_spec.cpp.
#include "gui/new_sweep_dialog.h"

#include <QCheckBox>
#include <QComboBox>
#include <QDialogButtonBox>
#include <QFileDialog>
#include <QFormLayout>
#include <QGroupBox>
#include <QLabel>
#include <QLineEdit>
#include <QListWidget>
#include <QPointer>
#include <QPushButton>
#include <QSpinBox>
#include <QTabWidget>
#include <QVBoxLayout>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "gui/engine_client.h"
#include "gui/file_names.h"
#include "gui/page_scroll.h"
#include "gui/remote_browser.h"
#include "gui/settings_store.h"
#include "protocol/messages.h"
#include "views/common/format.h"
#include "views/common/theme.h"

namespace headroom::gui {
namespace {

void fit_label_height(QLabel& label) {
  label.setMinimumHeight(label.text().isEmpty() ? 0 : label.heightForWidth(std::max(label.width(), 300)));
}

QString time_text(double seconds) {
  if (seconds < 120) return QObject::tr("about %1 s").arg(std::max<qint64>(1, qRound64(seconds)));
  if (seconds < 2 * 3600) return QObject::tr("about %1 min").arg(qRound64(seconds / 60));
  return QObject::tr("about %1 h").arg(views::format_fixed(seconds / 3600, 1));
}

}  // namespace

NewSweepDialog::NewSweepDialog(EngineClient& engine, SettingsStore& settings,
                               const std::optional<protocol::SweepSpec>& spec, QWidget* parent)
    : QDialog(parent), engine_(engine), settings_(settings) {
  setWindowTitle(tr("New sweep"));
  setObjectName("new_sweep_dialog");
  auto* layout = new QVBoxLayout(this);
  auto* fields = new PageScroll(this);  // with large text on a small screen
  fields->set_page(new QWidget);
  auto* grid = new QGridLayout(fields->page());
  grid->setContentsMargins(0, 0, 0, 0);
  grid->addWidget(build_source(), 0, 0);
  grid->addWidget(build_methods(), 0, 1);
  grid->addWidget(build_machine(), 1, 0, 1, 2);
  grid->addWidget(build_check(), 2, 0, 1, 2);
  grid->setColumnStretch(0, 1);
  grid->setColumnStretch(1, 1);
  grid->setRowStretch(0, 1);
  layout->addWidget(fields, 1);
  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Cancel, this);
  start_ = buttons->addButton(tr("Start sweep"), QDialogButtonBox::AcceptRole);
  start_->setObjectName("start_sweep");
  layout->addWidget(buttons);
  connect(buttons, &QDialogButtonBox::accepted, this, &QDialog::accept);
  connect(buttons, &QDialogButtonBox::rejected, this, &QDialog::reject);

  protocol::SweepSpec first;
  first.model = "smollm2";
  first.tasks = {"niah_single_1", "niah_multikey_1", "vt"};
  first.lengths = {2048};
  first.budgets = {{BudgetKind::tokens, 128}, {BudgetKind::tokens, 512}};
  if (spec) {
    first = *spec;
  } else if (const QByteArray last = settings.blob("last_sweep"); !last.isEmpty()) {
    try {
      first = protocol::sweep_spec_from_json(nlohmann::json::parse(last.toStdString()));
      first.resume = false;
      first.layer_budgets.reset();  // of another model, perhaps
    } catch (const std::exception&) {
      // Settings of another version: the defaults above serve.
    }
  }
  if (!spec || first.out.empty()) {
    first.out = new_sweep_path().toStdString();
    own_out_ = QString::fromStdString(first.out);
  }
  debounce_.setSingleShot(true);
  debounce_.setInterval(450);
  connect(&debounce_, &QTimer::timeout, this, &NewSweepDialog::check);
  fill(first);
  connect(&engine_, &EngineClient::state_changed, this, &NewSweepDialog::engine_changed);
  engine_changed();
  const int unit = fontMetrics().height();
  resize(dialog_size(parent, QSize(unit * 58, unit * 38)));
}

QWidget* NewSweepDialog::build_source() {
  auto* box = new QGroupBox(tr("Samples"), this);
  auto* column = new QVBoxLayout(box);
  auto* row = new QHBoxLayout;
  model_ = new QComboBox(box);
  model_->setEditable(true);
  model_->setInsertPolicy(QComboBox::NoInsert);
  model_->setObjectName("sweep_model");
  model_->setAccessibleName(tr("Model"));
  model_->lineEdit()->setPlaceholderText(tr("A fetched model's name, a .gguf file or a safetensors folder"));
  auto* file = new QPushButton(tr("File…"), box);
  row->addWidget(new QLabel(tr("Model"), box));
  row->addWidget(model_, 1);
  row->addWidget(file);
  column->addLayout(row);
  connect(file, &QPushButton::clicked, this, [this] {
    if (const QString path = choose(tr("Open model"), tr("Models (*.gguf);;All files (*)"), {"gguf"}, false);
        !path.isEmpty())
      model_->setEditText(path);
  });
  connect(model_, &QComboBox::editTextChanged, this, &NewSweepDialog::edited);

  source_ = new QTabWidget(box);
  source_->setObjectName("sweep_source");
  auto* tasks = new QWidget;
  auto* task_column = new QVBoxLayout(tasks);
  tasks_ = new QListWidget(tasks);
  tasks_->setObjectName("sweep_tasks");
  tasks_->setAccessibleName(tr("Tasks"));
  task_column->addWidget(tasks_, 1);
  auto* form = new QFormLayout;
  lengths_ = new QLineEdit(tasks);
  lengths_->setObjectName("sweep_lengths");
  lengths_->setPlaceholderText(tr("tokens of prompt and answer: 2048, 4096"));
  const auto number = [&](const char* name, int least, int most, const QString& tip) {
    auto* field = new QSpinBox(tasks);
    field->setObjectName(name);
    field->setRange(least, most);
    field->setGroupSeparatorShown(true);
    field->setLocale(views::number_locale());
    field->setToolTip(tip);
    connect(field, &QSpinBox::valueChanged, this, &NewSweepDialog::edited);
    return field;
  };
  samples_ = number("sweep_samples", 1, 100000, tr("Of each task and length"));
  seed_ = number("sweep_seed", 0, 999'000'000, tr("Of the first sample; the others follow it"));
  calibration_ = number(
      "sweep_calibration", 0, 1000,
      tr("Dense samples of each task and length that are never scored: they choose the tasks of the macro mean"));
  form->addRow(tr("Lengths"), lengths_);
  auto* counts = new QHBoxLayout;
  counts->addWidget(samples_, 1);
  counts->addWidget(new QLabel(tr("Seed"), tasks));
  counts->addWidget(seed_, 1);
  counts->addWidget(new QLabel(tr("Calibrate"), tasks));
  counts->addWidget(calibration_, 1);
  form->addRow(tr("Samples"), counts);
  task_column->addLayout(form);
  source_->addTab(tasks, tr("Tasks"));

  auto* own = new QWidget;
  auto* own_grid = new QGridLayout(own);
  prompts_ = new QLineEdit(own);
  prompts_->setObjectName("sweep_prompts");
  prompts_->setAccessibleName(tr("File or folder of prompts"));
  prompts_->setPlaceholderText(tr("A .jsonl file, or a folder of texts"));
  auto* prompt_file = new QPushButton(tr("File…"), own);
  auto* prompt_folder = new QPushButton(tr("Folder…"), own);
  own_grid->addWidget(prompts_, 0, 0);
  own_grid->addWidget(prompt_file, 0, 1);
  own_grid->addWidget(prompt_folder, 0, 2);
  auto* words = new QLabel(
      tr("A line of the file: {\"messages\" or \"input\", \"outputs\"?}. Without reference answers there is no "
         "score: methods are compared with dense by KL and by their answers."),
      own);
  words->setWordWrap(true);
  own_grid->addWidget(words, 1, 0, 1, 3);
  own_grid->setRowStretch(2, 1);
  source_->addTab(own, tr("Your prompts"));
  column->addWidget(source_, 1);
  connect(prompt_file, &QPushButton::clicked, this, [this] {
    if (const QString path = choose(tr("Open prompts"), tr("Prompts (*.jsonl);;All files (*)"), {"jsonl"}, false);
        !path.isEmpty())
      prompts_->setText(path);
  });
  connect(prompt_folder, &QPushButton::clicked, this, [this] {
    if (const QString path = choose(tr("Open a folder of prompts"), {}, {}, true); !path.isEmpty())
      prompts_->setText(path);
  });
  connect(source_, &QTabWidget::currentChanged, this, &NewSweepDialog::edited);
  connect(tasks_, &QListWidget::itemChanged, this, &NewSweepDialog::edited);
  for (QLineEdit* field : {lengths_, prompts_}) connect(field, &QLineEdit::textChanged, this, &NewSweepDialog::edited);
  return box;
}

QWidget* NewSweepDialog::build_methods() {
  auto* box = new QGroupBox(tr("Methods beside dense"), this);
  auto* column = new QVBoxLayout(box);
  methods_ = new QListWidget(box);
  methods_->setObjectName("sweep_method_list");
  methods_->setAccessibleName(tr("Methods"));
  column->addWidget(methods_, 1);
  connect(methods_, &QListWidget::itemChanged, this, &NewSweepDialog::edited);
  auto* form = new QFormLayout;
  const auto line = [&](const QString& label, const QString& hint, const char* name) {
    auto* field = new QLineEdit(box);
    field->setObjectName(name);
    field->setPlaceholderText(hint);
    field->setToolTip(hint);
    form->addRow(label, field);
    connect(field, &QLineEdit::textChanged, this, &NewSweepDialog::edited);
    return field;
  };
  budgets_ = line(tr("Budgets"), tr("128, 512, 10%, p0.95: keys a query, share of the prompt, mass"), "sweep_budgets");
  granularity_ = line(tr("Shared by"), tr("1, 4, 8, 16, 32, 64 or 128 neighbouring queries"), "sweep_granularity");
  dense_layers_ = line(tr("Dense layers"), tr("none, or layer numbers such as 0, 1"), "sweep_dense_layers");
  const auto with_button = [&](const QString& label, const QString& hint, const char* name, auto&& open) {
    auto* field = new QLineEdit(box);
    field->setObjectName(name);
    field->setPlaceholderText(hint);
    auto* button = new QPushButton(tr("Open…"), box);
    auto* row = new QHBoxLayout;
    row->addWidget(field, 1);
    row->addWidget(button);
    form->addRow(label, row);
    connect(button, &QPushButton::clicked, this, open);
    return field;
  };
  layer_budgets_ = with_button(tr("By layer"), tr("none; or a budget.json"), "sweep_layer_budgets", [this] {
    const QString path =
        QFileDialog::getOpenFileName(this, tr("Open budgets by layer"), {}, tr("Budgets (*.json);;All files (*)"));
    if (!path.isEmpty()) layer_budgets_->setText(path);
  });
  connect(layer_budgets_, &QLineEdit::textChanged, this, &NewSweepDialog::show_layer_budgets);
  indexer_ = with_button(tr("Indexer"), tr("the one that ships for this model"), "sweep_indexer", [this] {
    if (const QString path =
            choose(tr("Open indexer"), tr("Indexers (*.safetensors);;All files (*)"), {"safetensors"}, false);
        !path.isEmpty())
      indexer_->setText(path);
  });
  connect(indexer_, &QLineEdit::textChanged, this, &NewSweepDialog::edited);
  column->addLayout(form);
  return box;
}

QWidget* NewSweepDialog::build_machine() {
  auto* box = new QWidget(this);
  auto* row = new QHBoxLayout(box);
  row->setContentsMargins(4, 0, 4, 0);
  device_ = new QComboBox(box);
  device_->setAccessibleName(tr("Device"));
  dtype_ = new QComboBox(box);
  dtype_->setAccessibleName(tr("Number format"));
  dtype_->addItem(tr("as the machine does best"), "auto");
  dtype_->addItem("bf16", "bf16");
  dtype_->addItem("f32", "f32");
  out_ = new QLineEdit(box);
  out_->setObjectName("sweep_out");
  out_->setAccessibleName(tr("The sweep's file"));
  resume_ = new QCheckBox(tr("Go on with it"), box);
  resume_->setObjectName("sweep_resume");
  resume_->setToolTip(tr("Rows that the file's store holds already are kept and not made again"));
  row->addWidget(new QLabel(tr("Device"), box));
  row->addWidget(device_);
  row->addWidget(dtype_);
  row->addWidget(new QLabel(tr("File"), box));
  row->addWidget(out_, 1);
  row->addWidget(resume_);
  for (QComboBox* combo : {device_, dtype_})
    connect(combo, &QComboBox::currentIndexChanged, this, &NewSweepDialog::edited);
  connect(out_, &QLineEdit::textChanged, this, &NewSweepDialog::edited);
  connect(resume_, &QCheckBox::toggled, this, &NewSweepDialog::edited);
  return box;
}

QWidget* NewSweepDialog::build_check() {
  auto* box = new QGroupBox(tr("Before it runs"), this);
  auto* column = new QVBoxLayout(box);
  message_ = new QLabel(box);
  message_->setObjectName("sweep_message");
  message_->setAutoFillBackground(true);
  message_->setContentsMargins(8, 4, 8, 4);
  needs_ = new QLabel(box);
  needs_->setObjectName("sweep_needs");
  for (QLabel* label : {message_, needs_}) {
    label->setWordWrap(true);
    label->setTextFormat(Qt::PlainText);
    label->setTextInteractionFlags(Qt::TextSelectableByMouse);
    column->addWidget(label);
  }
  return box;
}

QString NewSweepDialog::choose(const QString& title, const QString& filter, const QStringList& suffixes, bool folder) {
  if (engine_.remote()) {  // paths mean the engine's disk
    RemoteBrowser browser(engine_, title, folder ? RemoteBrowser::Wanted::folder : RemoteBrowser::Wanted::file,
                          suffixes, this);
    return browser.exec() == QDialog::Accepted ? browser.chosen() : QString();
  }
  return folder ? QFileDialog::getExistingDirectory(this, title)
                : QFileDialog::getOpenFileName(this, title, {}, filter);
}

void NewSweepDialog::edited() {
  if (!start_) return;  // still being built
  ++generation_;
  needs_->clear();
  try {
    const protocol::SweepSpec now = spec();
    if (engine_.state() != EngineClient::State::ready) {
      start_->setEnabled(false);
      const bool starting = engine_.state() == EngineClient::State::starting;
      return show_message(
          starting ? tr("The engine is starting…") : tr("The engine is not running: start it from the Engine menu."),
          starting);
    }
    settings_.set_blob("last_sweep", QByteArray::fromStdString(protocol::to_json(now).dump(
                                         -1, ' ', false, nlohmann::json::error_handler_t::replace)));
    start_->setEnabled(true);
    show_message(tr("Checking what this needs…"), true);
    debounce_.start();
  } catch (const Error& error) {
    debounce_.stop();
    start_->setEnabled(false);
    show_message(QString::fromUtf8(error.what()), false);
  }
}

void NewSweepDialog::check() {
  if (engine_.state() != EngineClient::State::ready) return;
  nlohmann::json params;
  try {
    params = {{"spec", protocol::to_json(spec())}};
  } catch (const Error&) {
    return;  // edited() has said so
  }
  engine_.request(
      protocol::method::sweep_preflight, params,
      [self = QPointer<NewSweepDialog>(this), asked = generation_](const nlohmann::json& result,
                                                                   const protocol::ErrorInfo* error) {
        if (!self || asked != self->generation_) return;
        if (error) {
          self->start_->setEnabled(false);
          QString text = QString::fromStdString(error->line());
          if (text.contains("--resume")) text += QObject::tr(" Tick \"Go on with it\" to resume.");
          return self->show_message(text, false);
        }
        try {
          self->show_needs(protocol::sweep_needs_from_json(result));
        } catch (const Error& bad) {
          self->show_message(QString::fromUtf8(bad.what()), false);
        }
      },
      120000);
}

void NewSweepDialog::show_needs(const protocol::SweepNeeds& needs) {
  QStringList parts{tr("%1 samples, %2 rows").arg(views::format_count(needs.samples), views::format_count(needs.rows)),
                    tr("the longest prompt %1 tokens").arg(views::format_count(needs.longest)),
                    tr("%1, %2").arg(QString::fromStdString(needs.device), QString::fromStdString(needs.dtype))};
  if (needs.memory_needed > 0)
    parts << tr("%1 of memory (%2 free)")
                 .arg(views::number_locale().formattedDataSize(needs.memory_needed, 1, QLocale::DataSizeSIFormat),
                      views::number_locale().formattedDataSize(needs.memory_free, 1, QLocale::DataSizeSIFormat));
  if (needs.rows_found > 0) parts << tr("%1 rows are there already").arg(views::format_count(needs.rows_found));
  parts << (needs.seconds > 0 ? tr("%1, roughly").arg(time_text(needs.seconds)) : tr("how long is not known"));
  QString text = parts.join(QStringLiteral(" · "));
  for (const std::string& note : needs.notes) {
    const QString sentence = QString::fromStdString(note);
    text += '\n' + sentence.left(1).toUpper() + sentence.mid(1) + '.';
  }
  needs_->setText(text);
  fit_label_height(*needs_);
  if (needs.warnings.empty())
    return show_message(tr("Ready to start. Rows are kept as they finish; a sweep that is stopped can go on."), true);
  QStringList warnings;
  for (const std::string& warning : needs.warnings) warnings << QString::fromStdString(warning);
  show_message(warnings.join('\n'), false);
}

void NewSweepDialog::show_message(const QString& text, bool good) {
  const views::Theme& theme = views::Theme::instance();
  QPalette palette = message_->palette();
  palette.setColor(QPalette::Window, good ? theme.info_background() : theme.warning_background());
  message_->setPalette(palette);
  message_->setText(text);
  fit_label_height(*message_);
}

void NewSweepDialog::show_layer_budgets() {
  const QString path = layer_budgets_->text().trimmed();
  if (kept_.layer_budgets && path == QString::fromStdString(kept_.layer_budgets->source)) return edited();
  kept_.layer_budgets.reset();
  edited();
}

}  // namespace headroom::gui
