// SPDX-License-Identifier: GPL-3.0-or-later
// What ssh wants to know before it lets us in: a pass phrase, a password, whether a host key is the right one. ssh
// starts this program for it (SSH_ASKPASS) and reads the answer from its standard output.
#pragma once

#include <QDialog>
#include <QProcessEnvironment>
#include <QString>

class QLineEdit;

namespace headroom::gui {

/// This process's environment with which ssh asks through `program`, and never on a terminal.
QProcessEnvironment askpass_environment(const QString& program);
/// Whether ssh has started this process to ask something.
bool is_askpass();
/// Asks `prompt`, writes the answer and returns the exit code: 0, or 1 where it was refused.
int run_askpass(const QString& prompt);

class AskpassDialog : public QDialog {
  Q_OBJECT
 public:
  explicit AskpassDialog(const QString& prompt);
  /// ssh wants a yes or a no, not something secret.
  static bool wants_yes_or_no(const QString& prompt);
  /// What ssh is told: "yes", "no", or what was typed.
  QString answer() const;

 private:
  bool yes_or_no_;
  QLineEdit* field_ = nullptr;
};

}  // namespace headroom::gui
