// SPDX-License-Identifier: GPL-3.0-or-later
// The figure of the Export dialog as it will be, in the room that there is; or the first lines of its numbers.
#pragma once

#include <QImage>
#include <QWidget>

namespace headroom::gui {

class FigurePreview : public QWidget {
  Q_OBJECT
 public:
  explicit FigurePreview(QWidget* parent = nullptr);
  /// `size`: of the figure, printed below it, "88 × 120 mm".
  void show_figure(const QImage& image, const QString& size);
  void show_text(const QString& text);  ///< numbers, or why there is no picture
  const QImage& image() const { return image_; }
  QString text() const { return text_; }
  QSize sizeHint() const override;
  QSize minimumSizeHint() const override;

 protected:
  void paintEvent(QPaintEvent* event) override;

 private:
  QImage image_;
  QString text_;
};

}  // namespace headroom::gui
