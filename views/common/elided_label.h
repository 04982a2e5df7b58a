// SPDX-License-Identifier: GPL-3.0-or-later
// A line that ends in an ellipsis where there is no room for all of it; the whole is its tool tip.
#pragma once

#include <QLabel>

namespace headroom::views {

class ElidedLabel : public QLabel {
  Q_OBJECT
 public:
  using QLabel::QLabel;
  /// Of one line of plain text. A QLabel whose text can be selected would make a document of it each time.
  QSize sizeHint() const override;
  QSize minimumSizeHint() const override;

 protected:
  void paintEvent(QPaintEvent* event) override;
  bool event(QEvent* event) override;
};

}  // namespace headroom::views
