// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/banner_bar.h"

#include <QApplication>
#include <QClipboard>
#include <QHBoxLayout>
#include <QLabel>
#include <QPainter>
#include <QPlainTextEdit>
#include <QPushButton>
#include <QStyle>
#include <QToolButton>
#include <QVBoxLayout>

#include "views/common/theme.h"

namespace headroom::views {
namespace {

constexpr int max_banners = 4;

/// A drawn sign whose shape says the kind as well as its colour: circle, triangle, octagon.
class Sign : public QWidget {
 public:
  Sign(Banner::Kind kind, QWidget* parent) : QWidget(parent), kind_(kind) {}
  QSize sizeHint() const override {
    const int side = QFontMetrics(font()).height() + 4;
    return {side, side};
  }

 protected:
  void paintEvent(QPaintEvent*) override {
    const Theme& theme = Theme::instance();
    QPainter painter(this);
    painter.setRenderHint(QPainter::Antialiasing);
    const qreal s = std::min(width(), height()) - 2;
    painter.translate((width() - s) / 2, (height() - s) / 2);
    painter.setPen(QPen(kind_ == Banner::Kind::info      ? theme.accent()
                        : kind_ == Banner::Kind::warning ? theme.warning()
                                                         : theme.text(),
                        1.6));
    QPolygonF shape;
    switch (kind_) {
      case Banner::Kind::info:
        painter.drawEllipse(QRectF(1, 1, s - 2, s - 2));
        break;
      case Banner::Kind::warning:
        shape << QPointF(s / 2, 1) << QPointF(s - 1, s - 2) << QPointF(1, s - 2);
        painter.drawPolygon(shape);
        break;
      case Banner::Kind::error:
        shape << QPointF(s * .3, 1) << QPointF(s * .7, 1) << QPointF(s - 1, s * .3) << QPointF(s - 1, s * .7)
              << QPointF(s * .7, s - 1) << QPointF(s * .3, s - 1) << QPointF(1, s * .7) << QPointF(1, s * .3);
        painter.drawPolygon(shape);
        break;
    }
    const bool upside_down = kind_ == Banner::Kind::info;
    const qreal top = kind_ == Banner::Kind::warning ? 0.38 : 0.28;
    const qreal dot = upside_down ? 0.28 : 0.76;
    painter.drawLine(QPointF(s / 2, s * (upside_down ? 0.46 : top)), QPointF(s / 2, s * (upside_down ? 0.74 : 0.6)));
    painter.drawPoint(QPointF(s / 2, s * dot));
  }

 private:
  Banner::Kind kind_;
};

class BannerWidget : public QWidget {
 public:
  BannerWidget(const Banner& banner, QWidget* parent) : QWidget(parent), banner_(banner) {
    setObjectName("banner:" + banner.key);
    auto* outer = new QVBoxLayout(this);
    outer->setContentsMargins(12, 6, 8, 6);
    outer->setSpacing(4);
    auto* row = new QHBoxLayout;
    row->setSpacing(8);
    outer->addLayout(row);

    row->addWidget(new Sign(banner.kind, this), 0, Qt::AlignVCenter);
    auto* label = new QLabel(this);
    label->setTextFormat(Qt::RichText);
    label->setWordWrap(true);
    label->setTextInteractionFlags(Qt::TextSelectableByMouse);
    label->setText("<b>" + banner.title.toHtmlEscaped() + "</b>" +
                   (banner.text.isEmpty() ? QString() : " &nbsp;" + banner.text.toHtmlEscaped()));
    label->setAccessibleName(banner.title + ". " + banner.text);
    QSizePolicy policy(QSizePolicy::Expanding, QSizePolicy::Preferred);
    policy.setHeightForWidth(true);
    label->setSizePolicy(policy);
    row->addWidget(label, 1);

    for (const BannerButton& button : banner.buttons) {
      auto* widget = new QPushButton(button.text, this);
      widget->setObjectName("banner_button");
      connect(widget, &QPushButton::clicked, this, [this, action = button.action] {
        const auto run = action;  // outlives this banner
        close_banner(false);
        if (run) run();
      });
      row->addWidget(widget, 0, Qt::AlignVCenter);
    }
    if (!banner.details.isEmpty()) add_details(row, outer);

    auto* close = new QToolButton(this);
    close->setObjectName("banner_close");
    close->setAutoRaise(true);
    close->setText("✕");
    close->setToolTip(tr("Close this message (Esc)"));
    close->setAccessibleName(tr("Close this message"));
    connect(close, &QToolButton::clicked, this, [this] { close_banner(true); });
    row->addWidget(close, 0, Qt::AlignVCenter);
  }

  void close_banner(bool by_reader) {
    const auto dismissed = by_reader ? banner_.dismissed : nullptr;
    hide();
    setObjectName({});
    deleteLater();
    if (QWidget* bar = parentWidget()) {
      if (bar->layout()) bar->layout()->removeWidget(this);
      bar->updateGeometry();
    }
    if (dismissed) dismissed();
  }

  QString text() const { return banner_.title + " " + banner_.text; }

 protected:
  void paintEvent(QPaintEvent*) override {
    const Theme& theme = Theme::instance();
    QPainter painter(this);
    painter.fillRect(rect(), banner_.kind == Banner::Kind::info      ? theme.info_background()
                             : banner_.kind == Banner::Kind::warning ? theme.warning_background()
                                                                     : theme.error_background());
    painter.setPen(theme.border());
    painter.drawLine(0, height() - 1, width(), height() - 1);
  }

 private:
  void add_details(QHBoxLayout* row, QVBoxLayout* outer) {
    auto* toggle = new QPushButton(tr("Details"), this);
    toggle->setObjectName("banner_details");
    toggle->setCheckable(true);
    row->addWidget(toggle, 0, Qt::AlignVCenter);
    auto* panel = new QWidget(this);
    auto* panel_layout = new QHBoxLayout(panel);
    panel_layout->setContentsMargins(0, 0, 0, 0);
    auto* text = new QPlainTextEdit(banner_.details, panel);
    text->setReadOnly(true);
    text->setMaximumHeight(QFontMetrics(font()).lineSpacing() * 7);
    text->setAccessibleName(tr("Details"));
    auto* copy = new QPushButton(tr("Copy"), panel);
    connect(copy, &QPushButton::clicked, this, [this] {
      QApplication::clipboard()->setText(banner_.title + "\n" + banner_.text + "\n" + banner_.details);
    });
    panel_layout->addWidget(text, 1);
    panel_layout->addWidget(copy, 0, Qt::AlignTop);
    panel->hide();
    outer->addWidget(panel);
    connect(toggle, &QPushButton::toggled, panel, &QWidget::setVisible);
  }

  Banner banner_;
};

}  // namespace

BannerBar::BannerBar(QWidget* parent) : QWidget(parent), layout_(new QVBoxLayout(this)) {
  layout_->setContentsMargins(0, 0, 0, 0);
  layout_->setSpacing(0);
  setSizePolicy(QSizePolicy::Preferred, QSizePolicy::Maximum);
  connect(&Theme::instance(), &Theme::changed, this, [this] {
    for (QObject* child : children()) {
      if (auto* widget = qobject_cast<QWidget*>(child)) widget->update();
    }
  });
}

QWidget* BannerBar::find(const QString& key) const {
  return findChild<QWidget*>("banner:" + key, Qt::FindDirectChildrenOnly);
}

void BannerBar::show_banner(const Banner& banner) {
  remove(banner.key);
  // Old news gives way: the oldest message goes where the bar would push the page away.
  while (count() >= max_banners) static_cast<BannerWidget*>(layout_->itemAt(0)->widget())->close_banner(false);
  auto* widget = new BannerWidget(banner, this);
  layout_->addWidget(widget);
  widget->show();
}

void BannerBar::remove(const QString& key) {
  if (QWidget* widget = find(key)) static_cast<BannerWidget*>(widget)->close_banner(false);
}

bool BannerBar::dismiss_newest() {
  if (count() == 0) return false;
  static_cast<BannerWidget*>(layout_->itemAt(count() - 1)->widget())->close_banner(true);
  return true;
}

bool BannerBar::contains(const QString& key) const {
  return find(key) != nullptr;
}
int BannerBar::count() const {
  return layout_->count();
}

QString BannerBar::text_of(const QString& key) const {
  const QWidget* widget = find(key);
  return widget ? static_cast<const BannerWidget*>(widget)->text() : QString();
}

}  // namespace headroom::views
