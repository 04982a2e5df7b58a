// SPDX-License-Identifier: GPL-3.0-or-later
// Three short hints for the first minutes, each closed for good by its own button.
#pragma once

#include <QVector>
#include <QWidget>

class QAction;

namespace headroom::gui {

class SettingsStore;

class HintBar : public QWidget {
  Q_OBJECT
 public:
  explicit HintBar(SettingsStore& settings, QWidget* parent = nullptr);
  /// Commands that stand among the hints, one click away, until their hint is closed.
  void set_samples(const QVector<QAction*>& samples);
  /// Shows the hints that have not been closed.
  void reload();
  int shown() const { return shown_; }

 protected:
  void paintEvent(QPaintEvent* event) override;
  void resizeEvent(QResizeEvent* event) override;

 private:
  QWidget* add_cell(const QString& key, QWidget* content);

  SettingsStore& settings_;
  QVector<QAction*> samples_;
  int shown_ = 0;
};

}  // namespace headroom::gui
