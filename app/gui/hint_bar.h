// SPDX-License-Identifier: GPL-3.0-or-later
// Three short hints for the first minutes, each closed for good by its own button.
#pragma once

#include <QWidget>

namespace headroom::gui {

class SettingsStore;

class HintBar : public QWidget {
  Q_OBJECT
 public:
  explicit HintBar(SettingsStore& settings, QWidget* parent = nullptr);
  /// Shows the hints that have not been closed.
  void reload();
  int shown() const { return shown_; }

 protected:
  void paintEvent(QPaintEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  SettingsStore& settings_;
  int shown_ = 0;
};

}  // namespace headroom::gui
