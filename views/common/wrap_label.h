// SPDX-License-Identifier: GPL-3.0-or-later
// A text that wraps and is never squeezed below the lines that it needs: layouts alone give way where room is short.
#pragma once

#include <QLabel>

namespace headroom::views {

class WrapLabel : public QLabel {
 public:
  explicit WrapLabel(QWidget* parent = nullptr) : QLabel(parent) { setWordWrap(true); }

 protected:
  void resizeEvent(QResizeEvent* event) override {
    QLabel::resizeEvent(event);
    keep_lines();
  }
  void paintEvent(QPaintEvent* event) override {
    keep_lines();  // another text, another font
    QLabel::paintEvent(event);
  }

 private:
  void keep_lines() {
    const int lines = text().isEmpty() ? 0 : heightForWidth(width());
    if (lines != minimumHeight()) setMinimumHeight(lines);
  }
};

}  // namespace headroom::views
