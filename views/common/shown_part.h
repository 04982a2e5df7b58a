// SPDX-License-Identifier: GPL-3.0-or-later
// Several widgets in one place, of which one is seen. A QStackedWidget asks for as much room as the largest of all
// would take; this one for what is seen.
#pragma once

#include <QVBoxLayout>
#include <QWidget>

namespace headroom::views {

class ShownPart : public QWidget {
 public:
  explicit ShownPart(QWidget* parent = nullptr) : QWidget(parent), column_(new QVBoxLayout(this)) {
    column_->setContentsMargins(0, 0, 0, 0);
  }
  void addWidget(QWidget* widget) {
    column_->addWidget(widget);
    widget->setVisible(column_->count() == 1);
  }
  int currentIndex() const { return current_; }
  void setCurrentIndex(int index) {
    if (index == current_ || index < 0 || index >= column_->count()) return;
    QWidget* before = column_->itemAt(current_)->widget();
    current_ = index;
    column_->itemAt(index)->widget()->show();
    before->hide();  // after: the focus goes to what is seen
  }

 private:
  QVBoxLayout* column_;
  int current_ = 0;
};

}  // namespace headroom::views
