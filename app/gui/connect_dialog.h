// SPDX-License-Identifier: GPL-3.0-or-later
// Connect to engine…: this machine's, or one reached through ssh; shows each step while it connects.
#pragma once

#include <QDialog>
#include <functional>

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
  /// `lost`: how many jobs end where another engine is connected; the first click then says so, the second one does it.
  ConnectDialog(EngineClient& engine, SettingsStore& settings, std::function<int()> lost, QWidget* parent);
  EngineSettings chosen() const;

 private:
  void refresh();
  void connect_now();
  void tell(const QString& line);

  EngineClient& engine_;
  SettingsStore& settings_;
  std::function<int()> lost_;
  bool warned_ = false;
  QRadioButton *local_, *remote_;
  QLineEdit *program_, *host_, *path_, *options_;
  QLabel* command_;
  QPlainTextEdit* steps_;
  QPushButton* connect_;
};

}  // namespace headroom::gui
