// SPDX-License-Identifier: GPL-3.0-or-later
// The dialog's widgets; what they say as a RunSpec is in new_run_spec.cpp, talking to the engine in new_run_check.cpp.
#include "gui/new_run_dialog.h"

#include <QCheckBox>
#include <QComboBox>
#include <QDialogButtonBox>
#include <QFileDialog>
#include <QFormLayout>
#include <QGroupBox>
#include <QLabel>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QSpinBox>
#include <QTabWidget>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "gui/engine_client.h"
#include "gui/file_names.h"
#include "gui/model_fetch.h"
#include "gui/page_scroll.h"
#include "gui/remote_browser.h"
#include "gui/settings_store.h"

namespace headroom::gui {

NewRunDialog::NewRunDialog(EngineClient& engine, SettingsStore& settings, const NewRunRequest& request, QWidget* parent)
    : QDialog(parent), engine_(engine), settings_(settings) {
  setWindowTitle(tr("New run"));
  setObjectName("new_run_dialog");
  auto* outer = new QVBoxLayout(this);
  // On a small screen, or with large text, the fields scroll and the buttons stay in sight.
  auto* fields = new PageScroll(this);
  fields->set_page(new QWidget);
  auto* layout = new QGridLayout(fields->page());
  layout->setContentsMargins(0, 0, 0, 0);
  outer->addWidget(fields, 1);
  layout->addWidget(build_model(), 0, 0);
  layout->addWidget(build_prompt(), 1, 0, 2, 1);
  layout->addWidget(build_methods(), 0, 1, 2, 1);
  layout->addWidget(build_machine(), 2, 1);
  layout->addWidget(build_check(), 3, 0, 1, 2);
  layout->setColumnStretch(0, 1);
  layout->setColumnStretch(1, 1);
  layout->setRowStretch(3, 1);
  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Cancel, this);
  start_ = buttons->addButton(tr("Start run"), QDialogButtonBox::AcceptRole);
  start_->setObjectName("start_run");
  outer->addWidget(buttons);
  connect(buttons, &QDialogButtonBox::accepted, this, &QDialog::accept);
  connect(buttons, &QDialogButtonBox::rejected, this, &QDialog::reject);

  protocol::RunSpec spec;
  spec.model = "smollm2";
  spec.task = "niah_single_1";
  spec.length = 2048;
  spec.chat = true;
  if (request.spec) {
    spec = *request.spec;
  } else if (const QString last = settings.last_spec(); !last.isEmpty()) {
    try {
      spec = protocol::run_spec_from_json(nlohmann::json::parse(last.toStdString()));
      spec.layer_budgets.reset();  // of another model, perhaps
    } catch (const std::exception&) {
      // Settings of another version: the defaults above serve.
    }
  }
  if (!request.model.isEmpty()) {
    spec.model = request.model.toStdString();
    spec.adapter.reset();  // the last run's belongs to another model
  }
  if (!request.prompt_file.isEmpty()) {
    spec.prompt.reset();
    spec.task.reset();
    spec.prompt_file = request.prompt_file.toStdString();
  }
  if (!request.indexer.isEmpty()) {
    spec.indexer = request.indexer.toStdString();
    with_index_ = true;
  }
  spec.out = new_record_path().toStdString();
  fill(spec);

  debounce_.setSingleShot(true);
  debounce_.setInterval(450);
  connect(&debounce_, &QTimer::timeout, this, &NewRunDialog::check);
  connect(&engine_, &EngineClient::state_changed, this, &NewRunDialog::engine_changed);
  engine_changed();
  const int unit = fontMetrics().height();
  resize(dialog_size(parent, QSize(unit * 64, unit * 43)));
  prompt_text_->setFocus();
}

QWidget* NewRunDialog::build_model() {
  auto* box = new QGroupBox(tr("Model"), this);
  auto* form = new QGridLayout(box);
  model_ = new QComboBox(box);
  model_->setEditable(true);
  model_->setInsertPolicy(QComboBox::NoInsert);
  model_->setObjectName("model");
  model_->setAccessibleName(tr("Model"));
  model_->lineEdit()->setPlaceholderText(tr("A fetched model's name, a .gguf file or a safetensors folder"));
  auto* file = new QPushButton(tr("File…"), box);
  auto* folder = new QPushButton(tr("Folder…"), box);
  form->addWidget(model_, 0, 0);
  form->addWidget(file, 0, 1);
  form->addWidget(folder, 0, 2);
  adapter_ = new QLineEdit(box);
  adapter_->setObjectName("adapter");
  adapter_->setAccessibleName(tr("Adapter"));
  adapter_->setPlaceholderText(tr("No adapter; or the folder of a LoRA adapter"));
  auto* adapter_folder = new QPushButton(tr("Adapter…"), box);
  form->addWidget(adapter_, 1, 0, 1, 2);
  form->addWidget(adapter_folder, 1, 2);
  model_facts_ = new QLabel(box);
  model_facts_->setWordWrap(true);
  model_facts_->setTextFormat(Qt::PlainText);
  model_facts_->setObjectName("model_facts");
  form->addWidget(model_facts_, 2, 0, 1, 3);
  form->setColumnStretch(0, 1);
  file->setObjectName("model_file");
  connect(file, &QPushButton::clicked, this, [this] {
    if (const QString path = choose_there(tr("Open model"), tr("Models (*.gguf);;All files (*)"), {"gguf"});
        !path.isEmpty())
      model_->setEditText(path);
  });
  connect(folder, &QPushButton::clicked, this, [this] {
    if (const QString path = choose_there(tr("Open model folder"), {}, {}, true); !path.isEmpty())
      model_->setEditText(path);
  });
  connect(adapter_folder, &QPushButton::clicked, this, [this] {
    if (const QString path = choose_there(tr("Open adapter's folder"), {}, {}, true); !path.isEmpty())
      adapter_->setText(path);
  });
  connect(model_, &QComboBox::editTextChanged, this, &NewRunDialog::model_edited);
  connect(adapter_, &QLineEdit::textChanged, this, &NewRunDialog::model_edited);
  return box;
}

void NewRunDialog::model_edited() {
  ++model_generation_;
  model_facts_->clear();
  edited();
}

QWidget* NewRunDialog::build_prompt() {
  auto* box = new QGroupBox(tr("Prompt"), this);
  auto* layout = new QVBoxLayout(box);
  prompt_tabs_ = new QTabWidget(box);
  prompt_tabs_->setObjectName("prompt_tabs");
  layout->addWidget(prompt_tabs_);

  prompt_text_ = new QPlainTextEdit;
  prompt_text_->setPlaceholderText(tr("Type or paste the prompt"));
  prompt_text_->setTabChangesFocus(true);
  prompt_text_->setObjectName("prompt_text");
  prompt_tabs_->addTab(prompt_text_, tr("Text"));
  connect(prompt_text_, &QPlainTextEdit::textChanged, this, &NewRunDialog::edited);

  auto* file_tab = new QWidget;
  auto* file_row = new QGridLayout(file_tab);
  prompt_file_ = new QLineEdit(file_tab);
  prompt_file_->setPlaceholderText(tr("A UTF-8 text file"));
  prompt_file_->setObjectName("prompt_file");
  auto* browse = new QPushButton(tr("File…"), file_tab);
  file_row->addWidget(prompt_file_, 0, 0);
  file_row->addWidget(browse, 0, 1);
  file_row->setRowStretch(1, 1);
  prompt_tabs_->addTab(file_tab, tr("File"));
  connect(prompt_file_, &QLineEdit::textChanged, this, &NewRunDialog::edited);
  connect(browse, &QPushButton::clicked, this, [this] {
    if (const QString path = choose_file(tr("Open prompt"), tr("Text (*.txt *.md);;All files (*)")); !path.isEmpty())
      prompt_file_->setText(path);
  });

  auto* task_tab = new QWidget;
  auto* form = new QFormLayout(task_tab);
  task_ = new QComboBox(task_tab);
  task_->setObjectName("task");
  task_->addItem(tr("Needle in noise (niah_single_1)"), "niah_single_1");  // the others come from the engine
  task_length_ = new QSpinBox(task_tab);
  task_length_->setRange(128, 1 << 20);
  task_length_->setSingleStep(512);
  task_length_->setGroupSeparatorShown(true);
  task_length_->setSuffix(tr(" tokens"));
  seed_ = new QSpinBox(task_tab);
  seed_->setRange(0, 1000000000);
  form->addRow(tr("Task"), task_);
  form->addRow(tr("Length"), task_length_);
  form->addRow(tr("Seed"), seed_);
  prompt_tabs_->addTab(task_tab, tr("Task"));
  chat_ = new QCheckBox(tr("Wrap in the model's chat template"), box);
  layout->addWidget(chat_);
  connect(prompt_tabs_, &QTabWidget::currentChanged, this, &NewRunDialog::edited);
  for (QSpinBox* number : {task_length_, seed_}) connect(number, &QSpinBox::valueChanged, this, &NewRunDialog::edited);
  connect(task_, &QComboBox::currentIndexChanged, this, &NewRunDialog::edited);
  connect(chat_, &QCheckBox::toggled, this, &NewRunDialog::edited);
  return box;
}

QWidget* NewRunDialog::build_methods() {
  auto* box = new QGroupBox(tr("Methods"), this);
  auto* layout = new QVBoxLayout(box);
  method_list_ = new QVBoxLayout;
  layout->addLayout(method_list_);
  auto* form = new QFormLayout;
  form->setContentsMargins(0, 6, 0, 0);
  const auto line = [&](const QString& label, const QString& hint) {
    auto* field = new QLineEdit(box);
    field->setPlaceholderText(hint);
    field->setToolTip(hint);
    form->addRow(label, field);
    connect(field, &QLineEdit::textChanged, this, &NewRunDialog::edited);
    return field;
  };
  budgets_ = line(tr("Budgets"), tr("512, 10%, p0.95: keys a query, share of the prompt, mass"));
  budgets_->setObjectName("budgets");
  granularity_ = line(tr("Shared by"), tr("1, 4, 8, 16, 32, 64 or 128 neighbouring queries"));
  dense_layers_ = line(tr("Dense layers"), tr("none, or layer numbers such as 0, 1"));
  auto* layers_row = new QHBoxLayout;
  by_layer_ = new QCheckBox(box);
  by_layer_->setObjectName("by_layer");
  auto* layers_file = new QPushButton(tr("Open…"), box);
  layers_row->addWidget(by_layer_, 1);
  layers_row->addWidget(layers_file);
  form->addRow(tr("By layer"), layers_row);
  connect(by_layer_, &QCheckBox::toggled, this, &NewRunDialog::edited);
  connect(layers_file, &QPushButton::clicked, this, [this] {
    const QString path = choose_file(tr("Open budgets by layer"), tr("Budgets (*.json);;All files (*)"));
    if (path.isEmpty()) return;
    try {
      kept_.layer_budgets = read_budget_file(path_of(path)).budgets;
      show_layer_budgets();
    } catch (const Error& error) {
      show_message(QString::fromUtf8(error.what()), false);
    }
  });
  auto* row = new QWidget(box);
  auto* row_layout = new QHBoxLayout(row);
  row_layout->setContentsMargins(0, 0, 0, 0);
  indexer_ = new QLineEdit(row);
  indexer_->setPlaceholderText(tr("the one that ships for this model"));
  auto* browse = new QPushButton(tr("Open…"), row);
  row_layout->addWidget(indexer_, 1);
  row_layout->addWidget(browse);
  form->addRow(tr("Indexer"), row);
  connect(indexer_, &QLineEdit::textChanged, this, &NewRunDialog::edited);
  const auto choose_indexer = [this] {
    if (const QString path =
            choose_there(tr("Open indexer"), tr("Indexers (*.safetensors);;All files (*)"), {"safetensors"});
        !path.isEmpty())
      indexer_->setText(path);
  };
  connect(browse, &QPushButton::clicked, this, choose_indexer);
  layout->addLayout(form);

  indexer_help_ = new QWidget(box);
  auto* help = new QHBoxLayout(indexer_help_);
  help->setContentsMargins(0, 0, 0, 0);
  auto* label = new QLabel(tr("No indexer for this model:"), indexer_help_);
  auto* distill = new QPushButton(tr("Distil"), indexer_help_);
  distill->setObjectName("distill");
  distill->setToolTip(
      tr("Trains an indexer for this model: minutes on a GPU, hours on a CPU. It runs as a job and can be cancelled; "
         "what is trained by then is kept."));
  auto* open = new QPushButton(tr("Open…"), indexer_help_);
  auto* without = new QPushButton(tr("Go on without"), indexer_help_);
  without->setObjectName("go_on_without_indexer");
  help->addWidget(label, 1);
  help->addWidget(distill);
  help->addWidget(open);
  help->addWidget(without);
  layout->addWidget(indexer_help_);
  indexer_help_->hide();
  connect(distill, &QPushButton::clicked, this,
          [this] { emit distill_requested(model_->currentText().trimmed().toStdString(), adapter()); });
  connect(open, &QPushButton::clicked, this, choose_indexer);
  connect(without, &QPushButton::clicked, this, [this] {
    for (const MethodBox& method : methods_)
      if (method.needs_index) method.check->setChecked(false);
  });
  layout->addStretch();
  return box;
}

QWidget* NewRunDialog::build_machine() {
  auto* box = new QGroupBox(tr("Run"), this);
  auto* form = new QFormLayout(box);
  device_ = new QComboBox(box);
  dtype_ = new QComboBox(box);
  dtype_->addItem(tr("as the machine does best"), "auto");
  dtype_->addItem("bf16", "bf16");
  dtype_->addItem("f32", "f32");
  repeats_ = new QSpinBox(box);
  repeats_->setRange(1, 100);
  repeats_->setToolTip(tr("Timed passes of each method"));
  max_new_tokens_ = new QSpinBox(box);
  max_new_tokens_->setRange(-1, 65536);
  max_new_tokens_->setSpecialValueText(tr("by task"));
  max_new_tokens_->setToolTip(tr("Length of the answers; by task: the task's own, 16 without a task"));
  out_ = new QLineEdit(box);
  auto* pair = [&](QWidget* a, const QString& between, QWidget* b) {
    auto* row = new QWidget(box);
    auto* layout = new QHBoxLayout(row);
    layout->setContentsMargins(0, 0, 0, 0);
    layout->addWidget(a, 1);
    layout->addWidget(new QLabel(between, row));
    layout->addWidget(b, 1);
    return row;
  }(device_, tr("in"), dtype_);
  form->addRow(tr("Device"), pair);
  auto* counts = new QWidget(box);
  auto* counts_row = new QHBoxLayout(counts);
  counts_row->setContentsMargins(0, 0, 0, 0);
  counts_row->addWidget(repeats_, 1);
  counts_row->addWidget(new QLabel(tr("New tokens"), counts));
  counts_row->addWidget(max_new_tokens_, 1);
  form->addRow(tr("Repeats"), counts);
  libraries_ = new QCheckBox(tr("Time the libraries' dense attention, too"), box);
  libraries_->setToolTip(tr("LibTorch's, and on a GPU in bf16 FlashAttention-2's and cuDNN's: rows of their own on the "
                            "Timing page and in the table of runs"));
  libraries_->setObjectName("baselines");
  form->addRow(QString(), libraries_);
  form->addRow(tr("Record"), out_);
  form->addRow(tr("Exact maps"), build_exact_maps(box));
  for (QComboBox* combo : {device_, dtype_})
    connect(combo, &QComboBox::currentIndexChanged, this, &NewRunDialog::edited);
  for (QSpinBox* number : {repeats_, max_new_tokens_})
    connect(number, &QSpinBox::valueChanged, this, &NewRunDialog::edited);
  connect(libraries_, &QCheckBox::toggled, this, &NewRunDialog::edited);
  connect(out_, &QLineEdit::textChanged, this, &NewRunDialog::edited);
  return box;
}

QWidget* NewRunDialog::build_check() {
  auto* box = new QGroupBox(tr("Before it runs"), this);
  auto* layout = new QVBoxLayout(box);
  message_ = new QLabel(box);
  message_->setWordWrap(true);
  message_->setTextFormat(Qt::PlainText);
  message_->setAutoFillBackground(true);
  message_->setContentsMargins(8, 4, 8, 4);
  message_->setObjectName("message");
  needs_ = new QLabel(box);
  needs_->setWordWrap(true);
  needs_->setTextFormat(Qt::PlainText);
  needs_->setObjectName("needs");
  tail_ = new QPlainTextEdit(box);
  tail_->setReadOnly(true);
  tail_->setPlaceholderText(tr("The end of the prompt as the model will see it"));
  tail_->setAccessibleName(tr("End of the rendered prompt"));
  tail_->setObjectName("prompt_tail");
  tail_->setMinimumHeight(fontMetrics().lineSpacing() * 4);
  fetch_ = new ModelFetch(box);
  connect(fetch_, &ModelFetch::fetched, this, [this] {
    model_facts_->clear();  // what was said while it was missing
    edited();
  });
  layout->addWidget(message_);
  layout->addWidget(fetch_);
  layout->addWidget(needs_);
  layout->addWidget(tail_, 1);
  return box;
}

QString NewRunDialog::choose_there(const QString& title, const QString& filter, const QStringList& suffixes,
                                   bool folder) {
  if (!engine_.remote()) return choose_file(title, filter, folder);
  RemoteBrowser browser(engine_, title, folder ? RemoteBrowser::Wanted::folder : RemoteBrowser::Wanted::file, suffixes,
                        this);
  return browser.exec() == QDialog::Accepted ? browser.chosen() : QString();
}

QString NewRunDialog::choose_file(const QString& title, const QString& filter, bool folder) {
  return folder ? QFileDialog::getExistingDirectory(this, title)
                : QFileDialog::getOpenFileName(this, title, {}, filter);
}

}  // namespace headroom::gui
