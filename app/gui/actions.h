// SPDX-License-Identifier: GPL-3.0-or-later
// Every action of the window, once: menus, toolbar, palette and the list of keys are all made from here.
#pragma once

#include <QAction>
#include <QObject>
#include <QVector>

class QMainWindow;
class QMenu;
class QToolBar;

namespace headroom::gui {

class Actions : public QObject {
  Q_OBJECT
 public:
  /// Fills the window's menu bar; actions belong to the window, so their keys work while the menu bar is hidden.
  Actions(QMainWindow& window, const QStringList& page_ids, const QStringList& page_titles,
          const QStringList& page_hints);

  QVector<QAction*> pages;
  QAction *new_sweep, *runs_table;
  QAction *open_run, *new_run, *close_run, *export_figure, *copy_figure, *quit;
  QAction *undo, *redo, *find, *go_to_token, *budget_slider;
  QAction *dark, *text_larger, *text_smaller, *text_normal, *present, *reset_layout;
  QAction *connect_engine, *restart_engine;
  QAction *palette, *keys, *hints, *about;
  QAction *missed_keys, *readers, *why_changed, *record_exactly;  ///< the researcher's questions
  QAction *new_talk, *open_talk, *save_talk, *save_talk_as, *add_to_talk, *update_talk_step, *previous_step, *next_step;
  QAction *undo_talk, *redo_talk, *check_talk, *pack_talk, *export_talk;
  QMenu* recent = nullptr;  ///< filled by the window

  /// Adds the commands that try a recorded sample to the File menu; the result is as long as `titles`.
  QVector<QAction*> add_samples(const QStringList& titles, const QStringList& abouts);
  /// Adds the docks' own show/hide actions to the View menu.
  void add_dock(QAction* toggle);
  void fill_toolbar(QToolBar& bar);
  /// Everything that can be chosen in the palette, in menu order.
  QVector<QAction*> all() const { return all_; }

 private:
  QAction* make(QMenu* menu, const QString& icon_name, const QString& text, const QKeySequence& key,
                const QString& hint);

  QMainWindow& window_;
  QMenu* view_menu_ = nullptr;
  QAction* docks_end_ = nullptr;
  QMenu* file_menu_ = nullptr;
  QVector<QAction*> all_;
};

}  // namespace headroom::gui
