// SPDX-License-Identifier: GPL-3.0-or-later
// The keys of the shown page, wherever on the window the focus is. What is typed into a field stays text, and a list, a
// slider or a choice that has the focus keeps its arrows.
#pragma once

#include <QObject>
#include <functional>

#include "views/common/page_command.h"

class QWidget;

namespace headroom::gui {

/// Whether characters that are typed while it has the focus are text.
bool takes_text(const QWidget* widget);

class PageKeys : public QObject {
  Q_OBJECT
 public:
  /// `commands`: those of the page that is shown now.
  PageKeys(QWidget& window, std::function<QVector<views::PageCommand>()> commands);

 protected:
  bool eventFilter(QObject* watched, QEvent* event) override;

 private:
  QWidget& window_;
  std::function<QVector<views::PageCommand>()> commands_;
};

}  // namespace headroom::gui
