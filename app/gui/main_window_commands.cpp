// SPDX-License-Identifier: GPL-3.0-or-later
// What can be done by key or by name in the window: the palette, the list of keys, and Esc.
#include <QDockWidget>
#include <QMenu>
#include <QPointer>
#include <QToolBar>

#include "gui/actions.h"
#include "gui/command_palette.h"
#include "gui/main_window.h"
#include "gui/page_keys.h"
#include "gui/window_dialogs.h"
#include "views/common/banner_bar.h"

namespace headroom::gui {

QVector<Command> MainWindow::commands() {
  refresh_recent();
  QVector<Command> list = action_commands(actions_->all());
  for (QAction* file : actions_->recent->actions())
    list += Command{tr("Open recent: %1").arg(plain_text(file)), {}, {}, true, [file = QPointer<QAction>(file)] {
                      if (file) file->trigger();
                    }};
  const auto show_map = [this] { show_page(page_index(pages_, "attention")); };
  if (selection_.record()) {
    for (int i = 0; i < pages_.size(); ++i) {
      const auto show = [this, i] { show_page(i); };
      if (pages_[i].commands) list += key_commands(pages_[i].title, pages_[i].commands(), show);
    }
    list += place_commands(selection_, show_map);
    for (int i = 0; i < pages_.size(); ++i)
      list += control_commands(pages_[i].title, pages_[i].widget, [this, i] { show_page(i); });
  }
  for (QDockWidget* dock : docks_)
    list += control_commands(dock->windowTitle(), dock->widget(), [dock] {
      dock->show();
      dock->raise();
    });
  return list + control_commands(tr("Window"), toolbar_, [] {});
}

void MainWindow::show_palette() {
  auto* palette = new CommandPalette(
      commands(),
      [this](const QString& text) {
        return typed_commands(text, selection_, [this] { show_page(page_index(pages_, "attention")); });
      },
      this);
  palette->setAttribute(Qt::WA_DeleteOnClose);
  palette->open();
}

void MainWindow::show_keys() {
  auto* dialog = new KeysDialog(key_groups(actions_->all(), pages_), this);
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->open();
}

void MainWindow::escape() {
  // What is nearest to the reader gives way first.
  if (presenting_) return set_presenting(false);
  if (banners_->dismiss_newest()) return;
  // Whoever types means the field, not the job behind it. The page's keys work again.
  if (takes_text(focusWidget())) return pages_[current_page()].widget->setFocus();
  jobs_.cancel_current();
}

}  // namespace headroom::gui
