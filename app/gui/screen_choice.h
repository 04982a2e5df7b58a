// SPDX-License-Identifier: GPL-3.0-or-later
// Where there is more than one screen: which one the audience sees.
#pragma once

#include <QDialog>
#include <QList>

class QScreen;

namespace headroom::gui {

class ScreenChoice : public QDialog {
  Q_OBJECT
 public:
  /// `here`: the screen that the window is on, which the notes get by default.
  ScreenChoice(const QList<QScreen*>& screens, QScreen* here, QWidget* parent);

 signals:
  /// The screens for the pages and, null where nobody wants them, for the notes.
  void chosen(QScreen* stage, QScreen* notes);
};

}  // namespace headroom::gui
