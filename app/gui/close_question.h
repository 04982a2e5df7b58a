// SPDX-License-Identifier: GPL-3.0-or-later
// The window is to close while the engine works: wait, keep it in the background, stop it, or stay.
#pragma once

#include <QDialog>

namespace headroom::gui {

class CloseQuestion : public QDialog {
  Q_OBJECT
 public:
  /// `title`: of the job at work; `jobs`: how many there are with those that wait.
  CloseQuestion(const QString& title, int jobs, QWidget* parent);

 signals:
  void wait_chosen();
  void background_chosen();
  void stop_chosen();
};

}  // namespace headroom::gui
