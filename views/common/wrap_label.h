// SPDX-License-Identifier: GPL-3.0-or-later
// Labels whose text wraps: they know how many lines they need without laying their text out again.
#pragma once

#include <QLabel>
#include <utility>
#include <vector>

namespace headroom::views {

/// Remembers its height at the widths that layouts ask for. A layout asks all labels of a page, several times each,
/// whenever one of them says something new, and a QLabel lays its text out anew each time.
class TextLabel : public QLabel {
 public:
  explicit TextLabel(QWidget* parent = nullptr) : QLabel(parent) {}
  explicit TextLabel(const QString& text, QWidget* parent = nullptr) : QLabel(text, parent) {}

  int heightForWidth(int width) const override {
    if (known_text_ != text() || known_font_ != font() || known_margins_ != contentsMargins()) {
      known_text_ = text();
      known_font_ = font();
      known_margins_ = contentsMargins();
      heights_.clear();
    }
    for (const auto& [at, height] : heights_)
      if (at == width) return height;
    const int height = QLabel::heightForWidth(width);
    if (heights_.size() >= most_widths) heights_.erase(heights_.begin());
    heights_.emplace_back(width, height);
    return height;
  }

 private:
  static constexpr std::size_t most_widths = 8;
  mutable QString known_text_;
  mutable QFont known_font_;
  mutable QMargins known_margins_;
  mutable std::vector<std::pair<int, int>> heights_;
};

/// A text that wraps and is never squeezed below the lines that it needs: layouts alone give way where room is short.
class WrapLabel : public TextLabel {
 public:
  explicit WrapLabel(QWidget* parent = nullptr) : TextLabel(parent) { setWordWrap(true); }

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
