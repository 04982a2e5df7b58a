// SPDX-License-Identifier: GPL-3.0-or-later
// What a page can be told by a key or by its name. The list of keys and the palette are made from the same entries that
// the keys run, so that they say what is so.
#pragma once

#include <QKeyCombination>
#include <QString>
#include <QVector>
#include <functional>

class QKeyEvent;

namespace headroom::views {

struct PageCommand {
  QString title;                  ///< "Next missed key"
  QString keys;                   ///< as they are printed: "Shift+]"
  QVector<QKeyCombination> typed;  ///< any of them runs it; keyboards differ in what Shift makes of a bracket
  std::function<void()> run;
  std::function<void()> let_go = {};  ///< where holding the key matters: when it goes up again
};

/// Runs the command that the key stands for, once while it is held where letting go matters; false where there is none.
bool run_command(const QVector<PageCommand>& commands, const QKeyEvent& event);
/// The same for a key that goes up.
bool end_command(const QVector<PageCommand>& commands, const QKeyEvent& event);

}  // namespace headroom::views
