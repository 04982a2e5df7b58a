// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/page_rail.h"

#include <QAction>
#include <QPainter>
#include <QToolButton>

#include "views/common/theme.h"

namespace headroom::gui {
namespace {

/// A flat button with the icon over its name; the current page is marked by a bar as well as by colour.
class RailButton : public QToolButton {
 public:
  using QToolButton::QToolButton;
  QSize sizeHint() const override {
    const QFontMetrics metrics(font());
    return {std::max(metrics.horizontalAdvance("Attention") + metrics.height() * 3 / 2, 76),
            icon_size() + metrics.height() + 22};
  }
  /// Where there is no height for the names, with large text on a small screen, the icons stand alone.
  QSize minimumSizeHint() const override { return {sizeHint().width(), icon_size() + 10}; }

 protected:
  void paintEvent(QPaintEvent*) override {
    const views::Theme& theme = views::Theme::instance();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const QRectF body = QRectF(rect()).adjusted(5, 2, -5, -2);
    QColor tint = theme.accent();
    tint.setAlphaF(isChecked() ? 0.16f : underMouse() ? 0.08f : 0.0f);
    painter.setPen(hasFocus() ? QPen(theme.accent(), 1) : QPen(Qt::NoPen));
    painter.setBrush(tint);
    painter.drawRoundedRect(body, 6, 6);
    if (isChecked()) {
      painter.setPen(Qt::NoPen);
      painter.setBrush(theme.accent());
      painter.drawRoundedRect(QRectF(0, body.top() + 8, 3, body.height() - 16), 1.5, 1.5);
    }
    const int size = icon_size();
    const bool named = height() >= sizeHint().height() - 6;
    const int top = named ? 9 : (height() - size) / 2;
    icon().paint(&painter, QRect((width() - size) / 2, top, size, size), Qt::AlignCenter, QIcon::Normal,
                 isChecked() ? QIcon::On : QIcon::Off);
    if (!named) return;
    painter.setPen(isChecked() ? theme.accent() : theme.text());
    painter.drawText(QRect(0, 9 + size + 3, width(), height() - size - 14), Qt::AlignHCenter | Qt::AlignTop, text());
  }

 private:
  int icon_size() const { return std::max(22, QFontMetrics(font()).height() * 3 / 2); }
};

}  // namespace

PageRail::PageRail(QWidget* parent) : QWidget(parent), layout_(new QVBoxLayout(this)) {
  layout_->setContentsMargins(0, 8, 0, 8);
  layout_->setSpacing(4);
  layout_->addStretch(1);
  group_.setExclusive(true);
  setAccessibleName(tr("Pages"));
  connect(&views::Theme::instance(), &views::Theme::changed, this, qOverload<>(&QWidget::update));
}

void PageRail::add_page(QAction* action) {
  auto* button = new RailButton(this);
  button->setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Preferred);
  button->setText(action->iconText());
  button->setIcon(action->icon());
  button->setCheckable(true);
  button->setFocusPolicy(Qt::TabFocus);
  button->setAccessibleName(action->iconText());
  button->setToolTip(tr("%1 (key %2)").arg(action->toolTip(), action->shortcut().toString()));
  connect(button, &QToolButton::clicked, action, &QAction::trigger);
  group_.addButton(button, static_cast<int>(group_.buttons().size()));
  layout_->insertWidget(layout_->count() - 1, button);
}

void PageRail::set_current(int index) {
  if (QAbstractButton* button = group_.button(index)) button->setChecked(true);
}

void PageRail::paintEvent(QPaintEvent*) {
  const views::Theme& theme = views::Theme::instance();
  QPainter painter(this);
  painter.fillRect(rect(), theme.panel());
  painter.setPen(theme.border());
  painter.drawLine(width() - 1, 0, width() - 1, height());
}

}  // namespace headroom::gui
