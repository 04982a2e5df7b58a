// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/page_keys.h"

#include <QAbstractItemView>
#include <QAbstractScrollArea>
#include <QAbstractSlider>
#include <QAbstractSpinBox>
#include <QApplication>
#include <QComboBox>
#include <QKeyEvent>
#include <QLineEdit>
#include <QMenu>
#include <QMenuBar>
#include <QPlainTextEdit>
#include <QTabBar>
#include <QTextEdit>

namespace headroom::gui {
namespace {

bool is_arrow(int key) {
  return key == Qt::Key_Up || key == Qt::Key_Down || key == Qt::Key_Left || key == Qt::Key_Right;
}

template <typename... Kinds>
bool is_one_of(const QWidget* widget) {
  return (... || (qobject_cast<const Kinds*>(widget) != nullptr));
}

bool uses_arrows(const QWidget* widget) {
  return is_one_of<QAbstractSlider, QComboBox, QTabBar, QAbstractScrollArea, QMenu, QMenuBar>(widget);
}

}  // namespace

bool takes_text(const QWidget* widget) {
  if (const auto* line = qobject_cast<const QLineEdit*>(widget)) return !line->isReadOnly();
  if (const auto* spin = qobject_cast<const QAbstractSpinBox*>(widget)) return !spin->isReadOnly();
  if (const auto* choice = qobject_cast<const QComboBox*>(widget)) return choice->isEditable();
  if (const auto* text = qobject_cast<const QPlainTextEdit*>(widget)) return !text->isReadOnly();
  if (const auto* text = qobject_cast<const QTextEdit*>(widget)) return !text->isReadOnly();
  return false;
}

PageKeys::PageKeys(QWidget& window, std::function<QVector<views::PageCommand>()> commands)
    : QObject(&window), window_(window), commands_(std::move(commands)) {
  qApp->installEventFilter(this);
}

bool PageKeys::eventFilter(QObject* watched, QEvent* event) {
  const bool press = event->type() == QEvent::KeyPress;
  if (!press && event->type() != QEvent::KeyRelease) return false;
  // Only where the key arrives first: what a field does not want must not come back from its parents as the page's.
  QWidget* const first = window_.focusWidget() ? window_.focusWidget() : &window_;
  if (watched != first || takes_text(first)) return false;
  const auto& key = static_cast<QKeyEvent&>(*event);
  if (is_arrow(key.key()) && uses_arrows(first)) return false;
  return press ? views::run_command(commands_(), key) : views::end_command(commands_(), key);
}

}  // namespace headroom::gui
