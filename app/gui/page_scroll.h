// SPDX-License-Identifier: GPL-3.0-or-later
// Room for a page: it is as large as the window leaves it, and where that is less than it needs to be whole, it
// scrolls.
#pragma once

#include <QScrollArea>

namespace headroom::gui {

/// The least height at which a widget of this width shows all of itself: rows of controls wrap.
int least_height(const QWidget* widget, int width);

/// Not larger than the window that a dialog belongs to, so that it fits a small screen with large text.
QSize dialog_size(const QWidget* parent, QSize wanted);

class PageScroll : public QScrollArea {
  Q_OBJECT
 public:
  explicit PageScroll(QWidget* parent = nullptr);
  /// Owns it.
  void set_page(QWidget* page);
  QWidget* page() const { return widget(); }
  QSize sizeHint() const override;
  QSize minimumSizeHint() const override { return {160, 120}; }

 protected:
  void resizeEvent(QResizeEvent* event) override;
  bool eventFilter(QObject* watched, QEvent* event) override;
  bool focusNextPrevChild(bool next) override;

 private:
  void fit();
  bool fitting_ = false;
};

}  // namespace headroom::gui
