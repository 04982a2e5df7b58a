// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/askpass.h"

#include <QDialogButtonBox>
#include <QLabel>
#include <QLineEdit>
#include <QPushButton>
#include <QVBoxLayout>
#include <cstdio>

#include "base/utf8.h"

namespace headroom::gui {
namespace {

constexpr const char* marker = "HEADROOM_ASKPASS";

}  // namespace

QProcessEnvironment askpass_environment(const QString& program) {
  QProcessEnvironment environment = QProcessEnvironment::systemEnvironment();
  environment.insert("SSH_ASKPASS", program);
  environment.insert("SSH_ASKPASS_REQUIRE", "force");  // from OpenSSH 8.4 on, whatever terminal there is
  environment.insert(marker, "1");
  return environment;
}

bool is_askpass() {
  return qEnvironmentVariableIsSet(marker);
}

bool AskpassDialog::wants_yes_or_no(const QString& prompt) {
  return prompt.contains(QLatin1String("(yes/no")) || qgetenv("SSH_ASKPASS_PROMPT") == "confirm";
}

AskpassDialog::AskpassDialog(const QString& prompt) : yes_or_no_(wants_yes_or_no(prompt)) {
  setObjectName("askpass");
  setWindowTitle(yes_or_no_ ? tr("Is this the right machine?") : tr("Pass phrase"));
  auto* column = new QVBoxLayout(this);
  // The far machine chooses some of these words: shown as they are, never as markup.
  auto* text =
      new QLabel(QString::fromStdString(replace_invalid_utf8(prompt.toStdString())).left(4000).trimmed(), this);
  text->setObjectName("askpass_prompt");
  text->setTextFormat(Qt::PlainText);
  text->setWordWrap(true);
  text->setTextInteractionFlags(Qt::TextSelectableByMouse);
  text->setMinimumWidth(fontMetrics().averageCharWidth() * 64);
  column->addWidget(text);
  auto* buttons = new QDialogButtonBox(this);
  if (yes_or_no_) {
    auto* note = new QLabel(
        tr("Compare the fingerprint with one that you got in another way. What you accept is remembered by ssh."),
        this);
    note->setWordWrap(true);
    column->addWidget(note);
    buttons->addButton(tr("It is the right one"), QDialogButtonBox::AcceptRole)->setObjectName("askpass_yes");
    auto* no = buttons->addButton(tr("Do not connect"), QDialogButtonBox::RejectRole);
    no->setObjectName("askpass_no");
    no->setDefault(true);
  } else {
    field_ = new QLineEdit(this);
    field_->setObjectName("askpass_field");
    field_->setEchoMode(QLineEdit::Password);
    field_->setAccessibleName(tr("Pass phrase"));
    column->addWidget(field_);
    buttons->addButton(QDialogButtonBox::Ok)->setDefault(true);
    buttons->addButton(QDialogButtonBox::Cancel);
  }
  column->addWidget(buttons);
  connect(buttons, &QDialogButtonBox::accepted, this, &QDialog::accept);
  connect(buttons, &QDialogButtonBox::rejected, this, &QDialog::reject);
}

QString AskpassDialog::answer() const {
  return yes_or_no_ ? (result() == Accepted ? QStringLiteral("yes") : QStringLiteral("no")) : field_->text();
}

int run_askpass(const QString& prompt) {
  AskpassDialog dialog(prompt);
  if (dialog.exec() != QDialog::Accepted && !AskpassDialog::wants_yes_or_no(prompt)) return 1;
  const QByteArray answer = dialog.answer().toUtf8() + '\n';
  return std::fwrite(answer.constData(), 1, static_cast<std::size_t>(answer.size()), stdout) ==
                     static_cast<std::size_t>(answer.size()) &&
                 std::fflush(stdout) == 0
             ? 0
             : 1;
}

}  // namespace headroom::gui
