// SPDX-License-Identifier: GPL-3.0-or-later
// A text that wraps and is never squeezed below the lines that it needs: layouts alone give way where room is short.
#pragma once

#include <QLabel>
#include <utility>

namespace headroom::views {

class WrapLabel : public QLabel {
 public:
  explicit WrapLabel(QWidget* parent = nullptr) : QLabel(parent) { setWordWrap(true); }

 public:
  QSize minimumSizeHint() const override {
    // Not by a minimum height, which a label adds to what it says it needs: it would only ever grow.
    return {QLabel::minimumSizeHint().width(), lines()};
  }

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
  int lines() const { return text().isEmpty() ? 0 : heightForWidth(width()); }
  void keep_lines() {
    if (std::exchange(kept_, lines()) != lines()) updateGeometry();
  }
  int kept_ = 0;
};

}  // namespace headroom::views
