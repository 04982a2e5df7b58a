// SPDX-License-Identifier: GPL-3.0-or-later
// Text of another size for the page that is read at once, for the rest one after the other when the event loop comes to
// it: to lay out every page and dock of the window anew in one go takes longer than a reader should wait.
#pragma once

#include <QFont>
#include <QList>
#include <QObject>
#include <QPointer>
#include <QTimer>
#include <QWidget>

namespace headroom::gui {

class PageFonts : public QObject {
  Q_OBJECT
 public:
  explicit PageFonts(QObject* parent = nullptr);
  /// All take the font as their own, which what is in them follows: `first` now, `others` later, those that are seen
  /// before those that are not. Before the window is seen, all of them now.
  void set(const QFont& font, QWidget* first, QList<QWidget*> others);
  /// This one is about to be seen.
  void catch_up(QWidget* widget);
  bool waiting() const { return !waiting_.isEmpty(); }

 private:
  void next();
  QFont font_;
  QList<QPointer<QWidget>> waiting_;
  QTimer turn_;
};

}  // namespace headroom::gui
