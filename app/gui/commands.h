// SPDX-License-Identifier: GPL-3.0-or-later
// Everything that can be done by its name: actions, keys of pages, controls of pages and docks, places to go to.
#pragma once

#include <QIcon>
#include <QString>
#include <QVector>
#include <functional>

#include "views/common/page_command.h"
#include "views/common/selection.h"

class QAction;
class QWidget;

namespace headroom::gui {

struct Command {
  QString title;
  QString keys;
  QIcon icon;
  bool enabled = true;  ///< else it is listed, and grey
  std::function<void()> run;
};

/// An action's text without mnemonics and dots.
QString plain_text(const QAction* action);
/// "Ctrl++, Ctrl+=".
QString keys_of(const QAction* action);
QVector<Command> action_commands(const QVector<QAction*>& actions);
/// Of a page that has to be shown first.
QVector<Command> key_commands(const QString& page, const QVector<views::PageCommand>& commands,
                              const std::function<void()>& show);
/// Every button, choice and field under `root` that can be seen there once `show` was called, by its accessible name.
QVector<Command> control_commands(const QString& place, QWidget* root, const std::function<void()>& show);
/// Runs that are open, methods, baselines, layers and heads of the shown record. `show_map`: the page they are seen on.
QVector<Command> place_commands(views::Selection& selection, const std::function<void()>& show_map);
/// What numbers in `text` ask for: "layer 12 head 5", "token 1234"; most often nothing.
QVector<Command> typed_commands(const QString& text, views::Selection& selection,
                                const std::function<void()>& show_map);

/// 0 where a word of `pattern` is not found in `text`; more is better. A word is found at the start of a word, inside
/// one, or as letters in order; the words may stand in any order.
int match_score(const QString& pattern, const QString& text);

}  // namespace headroom::gui
