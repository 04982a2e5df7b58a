// SPDX-License-Identifier: GPL-3.0-or-later
// The left rail: one button a page, with icon, name and key.
#pragma once

#include <QButtonGroup>
#include <QVBoxLayout>
#include <QWidget>

class QAction;

namespace headroom::gui {

class PageRail : public QWidget {
  Q_OBJECT
 public:
  explicit PageRail(QWidget* parent = nullptr);
  /// Adds a button that triggers `action` (text, icon and shortcut are the action's).
  void add_page(QAction* action);
  void set_current(int index);

 protected:
  void paintEvent(QPaintEvent* event) override;

 private:
  QVBoxLayout* layout_;
  QButtonGroup group_;
};

}  // namespace headroom::gui
