// SPDX-License-Identifier: GPL-3.0-or-later
// A row of controls that wraps into further rows where the window is narrow, so that no control is ever cut off.
#pragma once

#include <QLayout>
#include <QList>

namespace headroom::views {

class FlowLayout : public QLayout {
 public:
  explicit FlowLayout(QWidget* parent = nullptr, int horizontal_gap = 10, int vertical_gap = 4);
  ~FlowLayout() override;

  void addItem(QLayoutItem* item) override;
  int count() const override { return static_cast<int>(items_.size()); }
  QLayoutItem* itemAt(int index) const override;
  QLayoutItem* takeAt(int index) override;
  Qt::Orientations expandingDirections() const override { return {}; }
  bool hasHeightForWidth() const override { return true; }
  int heightForWidth(int width) const override;
  /// The same were nothing hidden.
  int whole_height(int width) const { return arrange(QRect(0, 0, width, 0), false, true); }
  void setGeometry(const QRect& rect) override;
  QSize sizeHint() const override;
  QSize minimumSize() const override;

 private:
  /// Places the items where `place` is set; returns the height used. `whole`: also what is hidden takes its room.
  int arrange(const QRect& rect, bool place, bool whole = false) const;
  QList<QLayoutItem*> items_;
  int horizontal_gap_, vertical_gap_;
};

}  // namespace headroom::views
