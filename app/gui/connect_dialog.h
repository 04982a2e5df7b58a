// SPDX-License-Identifier: GPL-3.0-or-later
// Connect to engine…: this machine's, or one reached through ssh; shows each step while it connects.
#pragma once

#include <QDialog>

#include "gui/engine_client.h"

class QButtonGroup;
class QLineEdit;
class QPlainTextEdit;
class QPushButton;
class QRadioButton;
class QLabel;

namespace headroom::gui {

class ConnectDialog : public QDialog {
  Q_OBJECT
 public:
  ConnectDialog(EngineClient& engine, SettingsStore& settings, QWidget* parent);
  EngineSettings chosen() const;

 private:
  void refresh();
  void connect_now();
  void tell(const QString& line);

  EngineClient& engine_;
  SettingsStore& settings_;
  QRadioButton *local_, *remote_;
  QLineEdit *program_, *host_, *path_, *options_;
  QLabel* command_;
  QPlainTextEdit* steps_;
  QPushButton* connect_;
};

}  // namespace headroom::gui
