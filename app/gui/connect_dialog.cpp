// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/connect_dialog.h"

#include <QButtonGroup>
#include <QDialogButtonBox>
#include <QFormLayout>
#include <QLabel>
#include <QLineEdit>
#include <QPlainTextEdit>
#include <QProcess>
#include <QPushButton>
#include <QRadioButton>
#include <QVBoxLayout>

#include "gui/page_scroll.h"

namespace headroom::gui {
namespace {

QString quoted(const QStringList& words) {
  QStringList parts;
  for (const QString& word : words) parts << (word.contains(' ') ? '"' + word + '"' : word);
  return parts.join(' ');
}

}  // namespace

ConnectDialog::ConnectDialog(EngineClient& engine, SettingsStore& settings, std::function<int()> lost, QWidget* parent)
    : QDialog(parent), engine_(engine), settings_(settings), lost_(std::move(lost)) {
  setWindowTitle(tr("Connect to engine"));
  setObjectName("connect_dialog");
  auto* outer = new QVBoxLayout(this);
  auto* scroll = new PageScroll(this);
  auto* body = new QWidget;
  auto* layout = new QVBoxLayout(body);
  layout->setContentsMargins(0, 0, 0, 0);
  scroll->set_page(body);
  outer->addWidget(scroll, 1);
  const EngineSettings now = settings.engine();

  local_ = new QRadioButton(tr("The engine on this machine"), this);
  layout->addWidget(local_);
  auto* local_form = new QFormLayout;
  local_form->setContentsMargins(24, 0, 0, 8);
  program_ = new QLineEdit(now.program, this);
  program_->setPlaceholderText(engine_command({}).program);
  local_form->addRow(tr("Program"), program_);
  layout->addLayout(local_form);

  remote_ = new QRadioButton(tr("An engine on another machine, through ssh"), this);
  layout->addWidget(remote_);
  auto* remote_form = new QFormLayout;
  remote_form->setContentsMargins(24, 0, 0, 8);
  host_ = new QLineEdit(now.host, this);
  host_->setPlaceholderText(tr("user@host, or a name of your ssh configuration"));
  host_->setObjectName("host");
  path_ = new QLineEdit(now.remote_path, this);
  path_->setPlaceholderText(tr("headroom (or its full path there)"));
  options_ = new QLineEdit(quoted(now.options), this);
  options_->setPlaceholderText(tr("-p 2222 -i ~/.ssh/key"));
  remote_form->addRow(tr("Host"), host_);
  remote_form->addRow(tr("Program there"), path_);
  remote_form->addRow(tr("ssh options"), options_);
  layout->addLayout(remote_form);
  (now.remote ? remote_ : local_)->setChecked(true);

  command_ = new QLabel(this);
  command_->setTextFormat(Qt::PlainText);
  command_->setWordWrap(true);
  command_->setTextInteractionFlags(Qt::TextSelectableByMouse);
  layout->addWidget(command_);
  steps_ = new QPlainTextEdit(this);
  steps_->setReadOnly(true);
  steps_->setPlaceholderText(
      tr("Each step of the connection appears here. Keys and agents work as in your shell; a pass phrase is asked for in "
         "a window of its own."));
  steps_->setAccessibleName(tr("Steps"));
  steps_->setObjectName("steps");
  layout->addWidget(steps_, 1);

  auto* buttons = new QDialogButtonBox(QDialogButtonBox::Close, this);
  connect_ = buttons->addButton(tr("Connect"), QDialogButtonBox::ActionRole);
  connect_->setObjectName("connect");
  connect_->setDefault(true);
  outer->addWidget(buttons);
  connect(connect_, &QPushButton::clicked, this, &ConnectDialog::connect_now);
  connect(buttons, &QDialogButtonBox::rejected, this, &QDialog::reject);
  connect(local_, &QRadioButton::toggled, this, &ConnectDialog::refresh);
  for (QLineEdit* field : {program_, host_, path_, options_})
    connect(field, &QLineEdit::textChanged, this, &ConnectDialog::refresh);
  connect(&engine_, &EngineClient::step, this, &ConnectDialog::tell);
  connect(&engine_, &EngineClient::died, this, [this](const Problem& problem) {
    tell(problem.message);
    if (!problem.reason().isEmpty()) tell("  " + problem.reason());
  });
  refresh();
  const int unit = fontMetrics().height();
  steps_->setMinimumHeight(unit * 5);
  resize(dialog_size(parent, QSize(unit * 38, unit * 30)));
}

EngineSettings ConnectDialog::chosen() const {
  EngineSettings settings;
  settings.remote = remote_->isChecked();
  settings.program = program_->text().trimmed();
  settings.host = host_->text().trimmed();
  settings.remote_path = path_->text().trimmed();
  settings.options = QProcess::splitCommand(options_->text());
  return settings;
}

void ConnectDialog::refresh() {
  const bool remote = remote_->isChecked();
  program_->setEnabled(!remote);
  for (QLineEdit* field : {host_, path_, options_}) field->setEnabled(remote);
  const EngineSettings settings = chosen();
  connect_->setEnabled(!remote || !settings.host.isEmpty());
  const EngineCommand command = engine_command(settings);
  command_->setText(connect_->isEnabled() ? tr("Runs: %1").arg(quoted(QStringList{command.program} + command.arguments))
                                          : tr("Name a host."));
}

void ConnectDialog::tell(const QString& line) {
  steps_->appendPlainText(line);
}

void ConnectDialog::connect_now() {
  const EngineSettings settings = chosen();
  if (const int jobs = lost_ ? lost_() : 0; jobs > 0 && !std::exchange(warned_, true)) {
    steps_->clear();
    tell(jobs == 1 ? tr("A job is at work; connecting ends it.")
                   : tr("%1 jobs are not done; connecting ends them.").arg(jobs));
    return connect_->setText(tr("Connect all the same"));
  }
  warned_ = false;
  connect_->setText(tr("Connect"));
  settings_.set_engine(settings);
  steps_->clear();
  engine_.start(engine_command(settings));
}

}  // namespace headroom::gui
