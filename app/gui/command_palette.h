// SPDX-License-Identifier: GPL-3.0-or-later
// Ctrl+Shift+P: any command by a few letters of its name. And `?`: every key of the window in a list.
#pragma once

#include <QAction>
#include <QDialog>
#include <QVector>

class QLineEdit;
class QListWidget;

namespace headroom::gui {

class CommandPalette : public QDialog {
  Q_OBJECT
 public:
  CommandPalette(const QVector<QAction*>& actions, QWidget* parent);

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  void filter(const QString& text);
  void run_current();
  QVector<QAction*> actions_;
  QLineEdit* input_;
  QListWidget* list_;
};

/// Keys that the pages handle themselves, beside those of the actions.
struct PageKey {
  QString keys, what;
};

class KeysDialog : public QDialog {
  Q_OBJECT
 public:
  KeysDialog(const QVector<QAction*>& actions, const QVector<PageKey>& page_keys, QWidget* parent);
};

/// 0 where the letters of `pattern` do not occur in order in `text`; more is better (word starts and runs count).
int match_score(const QString& pattern, const QString& text);

}  // namespace headroom::gui
