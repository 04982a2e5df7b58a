// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/page_command.h"

#include <QKeyEvent>

namespace headroom::views {
namespace {

const PageCommand* command_of(const QVector<PageCommand>& commands, const QKeyEvent& event) {
  // Where on the keyboard a key lies is no part of it.
  const auto modifiers = event.modifiers() & ~(Qt::KeypadModifier | Qt::GroupSwitchModifier);
  const QKeyCombination typed(modifiers, static_cast<Qt::Key>(event.key()));
  for (const PageCommand& command : commands)
    if (command.typed.contains(typed)) return &command;
  return nullptr;
}

}  // namespace

bool run_command(const QVector<PageCommand>& commands, const QKeyEvent& event) {
  const PageCommand* command = command_of(commands, event);
  if (!command) return false;
  if (!command->let_go || !event.isAutoRepeat()) command->run();
  return true;
}

bool end_command(const QVector<PageCommand>& commands, const QKeyEvent& event) {
  const PageCommand* command = command_of(commands, event);
  if (!command || !command->let_go) return false;
  if (!event.isAutoRepeat()) command->let_go();
  return true;
}

}  // namespace headroom::views
