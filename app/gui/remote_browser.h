// SPDX-License-Identifier: GPL-3.0-or-later
// Looks through the disk of the machine that the engine runs on, in the folders that it was given.
#pragma once

#include <QDialog>

#include "gui/engine_client.h"

class QLabel;
class QLineEdit;
class QPushButton;
class QTreeWidget;

namespace headroom::gui {

class RemoteBrowser : public QDialog {
  Q_OBJECT
 public:
  enum class Wanted { file, folder };
  /// `suffixes` ("gguf"): other files are shown and cannot be chosen; empty: any may be.
  RemoteBrowser(EngineClient& engine, const QString& title, Wanted wanted, const QStringList& suffixes,
                QWidget* parent = nullptr);
  /// The full path there; empty while nothing is chosen.
  QString chosen() const;

 private:
  void list(const QString& folder);
  void show_list(const protocol::FilesListResult& found);
  void refresh();
  void enter();

  EngineClient& engine_;
  Wanted wanted_;
  QStringList suffixes_;
  QString folder_, parent_;
  quint64 asked_ = 0;  ///< the newest question's number
  QLabel *place_, *message_;
  QLineEdit* filter_;
  QTreeWidget* entries_;
  QPushButton *up_, *choose_;
};

}  // namespace headroom::gui
