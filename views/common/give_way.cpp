// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/give_way.h"

#include <QCoreApplication>
#include <QResizeEvent>
#include <QVariant>
#include <QWidget>

namespace headroom::views {
namespace {

constexpr const char* gives_way = "headroom_gives_way";
constexpr const char* folded = "headroom_in_talk";
constexpr const char* own_heights = "headroom_own_heights";  // least and most, while folded

}  // namespace

void give_way(std::initializer_list<QWidget*> widgets) {
  for (QWidget* widget : widgets) widget->setProperty(gives_way, true);
}

bool in_talk(const QWidget* page) {
  return page->property(folded).toBool();
}

void fold_for_talk(QWidget* page, bool fold) {
  if (in_talk(page) == fold) return;
  page->setProperty(folded, fold);
  for (QWidget* widget : page->findChildren<QWidget*>()) {
    if (!widget->property(gives_way).toBool()) continue;
    const QVariant before = widget->property(own_heights);
    if (fold == before.isValid()) continue;
    // By height, not hidden: pages show and hide these by what they have to say.
    if (fold) {
      widget->setProperty(own_heights, QPoint(widget->minimumHeight(), widget->maximumHeight()));
      widget->setMinimumHeight(0);
      widget->setMaximumHeight(0);
    } else {
      widget->setMaximumHeight(before.toPoint().y());
      widget->setMinimumHeight(before.toPoint().x());
      widget->setProperty(own_heights, QVariant());
    }
  }
  QResizeEvent again(page->size(), page->size());
  QCoreApplication::sendEvent(page, &again);
}

}  // namespace headroom::views
