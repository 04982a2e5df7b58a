// SPDX-License-Identifier: GPL-3.0-or-later
// Ctrl+Shift+P: any command by words of its name. And `?`: every key of the window in a list.
#pragma once

#include <QDialog>
#include <QVector>

#include "gui/commands.h"

class QLineEdit;
class QListWidget;

namespace headroom::gui {

class CommandPalette : public QDialog {
  Q_OBJECT
 public:
  /// What a text asks for beyond the commands that have a name.
  using TypedCommands = std::function<QVector<Command>(const QString& text)>;

  CommandPalette(QVector<Command> commands, TypedCommands typed, QWidget* parent);
  /// What is listed now, best first.
  const QVector<Command>& shown() const { return shown_; }

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  void filter(const QString& text);
  void run_current();
  QVector<Command> commands_, from_text_, shown_;
  TypedCommands typed_;
  QLineEdit* input_;
  QListWidget* list_;
};

struct PageKey {
  QString keys, what;
};
struct KeyGroup {
  QString title;
  QVector<PageKey> keys;
};

class KeysDialog : public QDialog {
  Q_OBJECT
 public:
  KeysDialog(const QVector<KeyGroup>& groups, QWidget* parent);
};

}  // namespace headroom::gui
