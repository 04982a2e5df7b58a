// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once

#include <QEvent>
#include <QLayout>
#include <QWidget>

namespace headroom::views {

/// Rows of controls and lines of text wrap: how high that makes a panel at least depends on its width, which splitters do
/// not ask for. Owned by the panel.
class LeastHeight : public QObject {
 public:
  explicit LeastHeight(QWidget* panel) : QObject(panel) { panel->installEventFilter(this); }

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override {
    if (event->type() == QEvent::Resize || event->type() == QEvent::LayoutRequest) {
      auto* panel = static_cast<QWidget*>(watched);
      const int least = panel->layout() ? panel->layout()->minimumHeightForWidth(panel->width()) : 0;
      if (least != panel->minimumHeight()) panel->setMinimumHeight(least);
    }
    return QObject::eventFilter(watched, event);
  }
};

}  // namespace headroom::views
