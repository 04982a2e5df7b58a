// SPDX-License-Identifier: GPL-3.0-or-later
// Looks over every visible label, button, choice and field of a window: its text has room, it lies inside its parent,
// and no two of them lie over each other.
#pragma once

#include <QAbstractButton>
#include <QAbstractScrollArea>
#include <QAbstractSpinBox>
#include <QCheckBox>
#include <QComboBox>
#include <QGroupBox>
#include <QLabel>
#include <QPushButton>
#include <QRadioButton>
#include <QStyle>
#include <QStyleOptionComboBox>
#include <QTabBar>
#include <QTextDocument>
#include <QToolBar>
#include <QToolButton>

#include "views/common/elided_label.h"

namespace headroom::test {

inline QString named(const QWidget* widget) {
  QString text = widget->accessibleName();
  if (const auto* label = qobject_cast<const QLabel*>(widget)) text = label->text();
  if (const auto* button = qobject_cast<const QAbstractButton*>(widget)) text = button->text();
  QString path = widget->metaObject()->className();
  for (const QWidget* up = widget->parentWidget(); up && path.size() < 120; up = up->parentWidget())
    if (!up->objectName().isEmpty() && !up->objectName().startsWith("qt_")) path += " in " + up->objectName();
  return QStringLiteral("“%1” (%2)").arg(text.left(60), path);
}

/// Why the text of a widget does not fit into it; empty where it does.
inline QString misfit(const QWidget* widget) {
  constexpr int slack = 1;
  if (qobject_cast<const views::ElidedLabel*>(widget)) return {};
  if (const auto* label = qobject_cast<const QLabel*>(widget)) {
    if (label->text().isEmpty()) return {};
    if (label->wordWrap()) {
      const int needed = label->heightForWidth(label->width());
      return needed > label->height() + slack
                 ? QStringLiteral("needs %1 pixels of height, has %2").arg(needed).arg(label->height())
                 : QString();
    }
    const QSize needed = label->sizeHint();
    if (needed.width() > label->width() + slack)
      return QStringLiteral("needs %1 pixels of width, has %2").arg(needed.width()).arg(label->width());
    if (needed.height() > label->height() + slack)
      return QStringLiteral("needs %1 pixels of height, has %2").arg(needed.height()).arg(label->height());
    return {};
  }
  if (const auto* button = qobject_cast<const QAbstractButton*>(widget)) {
    if (button->text().isEmpty()) return {};
    if (button->hasHeightForWidth()) {  // its text wraps
      const int needed = button->heightForWidth(button->width()), least = button->minimumSizeHint().width();
      if (least > button->width() + slack)
        return QStringLiteral("needs %1 pixels of width, has %2").arg(least).arg(button->width());
      return needed > button->height() + slack
                 ? QStringLiteral("needs %1 pixels of height, has %2").arg(needed).arg(button->height())
                 : QString();
    }
    const QFontMetrics metrics(button->font());
    const int words = metrics.size(Qt::TextShowMnemonic, button->text()).width();
    const auto* tool = qobject_cast<const QToolButton*>(button);
    if (tool && (tool->toolButtonStyle() == Qt::ToolButtonIconOnly) && !tool->icon().isNull()) return {};
    const bool box = qobject_cast<const QCheckBox*>(button) || qobject_cast<const QRadioButton*>(button);
    const int mark = box ? button->style()->pixelMetric(QStyle::PM_IndicatorWidth, nullptr, button) : 0;
    if (words + mark > button->width() + slack)
      return QStringLiteral("needs %1 pixels of width, has %2").arg(words + mark).arg(button->width());
    if (metrics.height() > button->height() + slack)
      return QStringLiteral("needs %1 pixels of height, has %2").arg(metrics.height()).arg(button->height());
    return {};
  }
  if (const auto* choice = qobject_cast<const QComboBox*>(widget)) {
    if (choice->isEditable()) return {};
    QStyleOptionComboBox option;
    option.initFrom(choice);
    option.editable = false;
    const QRect field =
        choice->style()->subControlRect(QStyle::CC_ComboBox, &option, QStyle::SC_ComboBoxEditField, choice);
    const int words = QFontMetrics(choice->font()).horizontalAdvance(choice->currentText());
    return words > field.width() + slack
               ? QStringLiteral("needs %1 pixels of width, has %2").arg(words).arg(field.width())
               : QString();
  }
  return {};
}

inline bool is_looked_at(const QWidget* widget) {
  return qobject_cast<const QLabel*>(widget) || qobject_cast<const QAbstractButton*>(widget) ||
         qobject_cast<const QComboBox*>(widget) || qobject_cast<const QAbstractSpinBox*>(widget);
}

/// Folded by its page while it is presented: given no height, not hidden.
inline bool is_folded(const QWidget* widget) {
  for (; widget && !widget->isWindow(); widget = widget->parentWidget())
    if (widget->maximumHeight() == 0) return true;
  return false;
}

/// One line for each thing that is wrong.
inline QStringList misfits(const QWidget* root) {
  QStringList wrong;
  QVector<const QWidget*> seen;
  for (const QWidget* widget : root->findChildren<QWidget*>()) {
    if (!widget->isVisible() || widget->window() != root->window() || !is_looked_at(widget)) continue;
    if (is_folded(widget)) continue;
    if (widget->objectName() == "qt_toolbar_ext_button" || widget->inherits("QTabBar")) continue;
    if (const QString why = misfit(widget); !why.isEmpty()) wrong << named(widget) + ": " + why;
    const QWidget* parent = widget->parentWidget();
    const auto* scrolls = parent ? qobject_cast<const QAbstractScrollArea*>(parent->parentWidget()) : nullptr;
    if (parent && !(scrolls && scrolls->viewport() == parent) && !parent->rect().contains(widget->geometry()))
      wrong << named(widget) + QStringLiteral(": lies outside its parent: %1,%2 %3x%4 in %5x%6")
                                   .arg(widget->x())
                                   .arg(widget->y())
                                   .arg(widget->width())
                                   .arg(widget->height())
                                   .arg(parent->width())
                                   .arg(parent->height());
    for (const QWidget* other : seen)
      if (other->parentWidget() == parent && other->geometry().intersects(widget->geometry()))
        wrong << named(widget) + " lies over " + named(other);
    seen << widget;
  }
  return wrong;
}

}  // namespace headroom::test
