// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/icons.h"

#include <QFile>
#include <QIconEngine>
#include <QPainter>
#include <QSvgRenderer>
#include <algorithm>

#include "views/common/theme.h"

// Outside any namespace, as the macro wants it.
static void register_resources() {
  Q_INIT_RESOURCE(headroom);
}

namespace headroom::gui {
namespace {

class ThemedIconEngine : public QIconEngine {
 public:
  explicit ThemedIconEngine(QByteArray source) : source_(std::move(source)) {}

  void paint(QPainter* painter, const QRect& rect, QIcon::Mode mode, QIcon::State state) override {
    const views::Theme& theme = views::Theme::instance();
    QColor colour = state == QIcon::On ? theme.accent() : theme.text();
    if (mode == QIcon::Disabled) {
      colour = theme.muted_text();
      colour.setAlphaF(0.5f);
    }
    QByteArray coloured = source_;
    coloured.replace("currentColor", colour.name().toLatin1());
    QSvgRenderer renderer(coloured);
    painter->save();
    painter->setOpacity(painter->opacity() * colour.alphaF());
    const int side = std::min(rect.width(), rect.height());
    renderer.render(
        painter, QRectF(rect.x() + (rect.width() - side) / 2.0, rect.y() + (rect.height() - side) / 2.0, side, side));
    painter->restore();
  }

  QPixmap pixmap(const QSize& size, QIcon::Mode mode, QIcon::State state) override {
    QPixmap pixmap(size);
    pixmap.fill(Qt::transparent);
    QPainter painter(&pixmap);
    paint(&painter, QRect(QPoint(0, 0), size), mode, state);
    return pixmap;
  }

  QIconEngine* clone() const override { return new ThemedIconEngine(source_); }

 private:
  QByteArray source_;
};

}  // namespace

void load_resources() {
  register_resources();
}

QIcon icon(const QString& name) {
  QFile file(":/icons/" + name + ".svg");
  if (!file.open(QIODevice::ReadOnly)) return {};
  return QIcon(new ThemedIconEngine(file.readAll()));
}

}  // namespace headroom::gui
