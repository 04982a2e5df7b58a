// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/actions.h"

#include <QMainWindow>
#include <QMenu>
#include <QMenuBar>
#include <QToolBar>
#include <QToolButton>

#include "gui/icons.h"

namespace headroom::gui {

QAction* Actions::make(QMenu* menu, const QString& icon_name, const QString& text, const QKeySequence& key,
                       const QString& hint) {
  auto* action = new QAction(text, &window_);
  if (!icon_name.isEmpty()) action->setIcon(icon(icon_name));
  action->setShortcut(key);
  const QString shortcut = key.toString(QKeySequence::NativeText);
  action->setToolTip(shortcut.isEmpty() ? hint : QString("%1 (%2)").arg(hint, shortcut));
  action->setStatusTip({});
  action->setIconVisibleInMenu(false);
  menu->addAction(action);
  window_.addAction(action);
  all_.append(action);
  return action;
}

Actions::Actions(QMainWindow& window, const QStringList& page_ids, const QStringList& page_titles,
                 const QStringList& page_hints)
    : QObject(&window), window_(window) {
  QMenuBar& bar = *window.menuBar();
  QMenu* file = file_menu_ = bar.addMenu(tr("&File"));
  open_run = make(file, "open", tr("&Open run…"), QKeySequence::Open, tr("Opens a recorded run"));
  recent = file->addMenu(tr("Open &recent"));
  new_run = make(file, "new_run", tr("&New run…"), QKeySequence::New, tr("Measures a prompt with the engine"));
  new_sweep = make(file, {}, tr("New s&weep…"), QKeySequence("Ctrl+Shift+N"),
                   tr("Scores many samples under dense and other methods: budget against quality"));
  file->addSeparator();
  export_figure =
      make(file, "export", tr("&Export…"), QKeySequence("Ctrl+E"), tr("Writes the page as PNG, PDF, SVG or CSV"));
  copy_figure = make(file, {}, tr("Copy &figure"), QKeySequence("Ctrl+Shift+C"), tr("Copies the page as a picture"));
  file->addSeparator();
  close_run = make(file, {}, tr("&Close run"), QKeySequence("Ctrl+W"), tr("Closes the shown run; its file stays"));
  quit = make(file, {}, tr("&Quit"), QKeySequence("Ctrl+Q"), tr("Closes the window and the engine"));

  QMenu* edit = bar.addMenu(tr("&Edit"));
  undo = make(edit, "undo", tr("&Undo"), QKeySequence::Undo, tr("Takes back the last change of the view"));
  redo = make(edit, "redo", tr("&Redo"), QKeySequence("Ctrl+Shift+Z"), tr("Makes the change again"));
  edit->addSeparator();
  find = make(edit, {}, tr("&Find in prompt…"), QKeySequence::Find, tr("Finds text in the prompt"));
  go_to_token = make(edit, {}, tr("&Go to token…"), QKeySequence("Ctrl+G"), tr("Shows a token by its number"));

  view_menu_ = bar.addMenu(tr("&View"));
  for (int i = 0; i < page_titles.size(); ++i) {
    const QKeySequence key{QString::number(i + 1)};
    QAction* action = make(view_menu_, page_ids[i], tr("Page: %1").arg(page_titles[i]), key, page_hints[i]);
    action->setToolTip(page_hints[i]);
    action->setIconText(page_titles[i]);
    action->setCheckable(true);
    pages.append(action);
  }
  runs_table = make(view_menu_, {}, tr("Runs as a &table…"), QKeySequence("Ctrl+Shift+L"),
                    tr("Files with notes and sizes, and what was measured on every open run"));
  budget_slider = make(view_menu_, {}, tr("&Budget slider"), QKeySequence("B"), tr("Shows the Budget page's slider"));
  docks_end_ = view_menu_->addSeparator();
  missed_keys = make(view_menu_, {}, tr("&Missed keys, by mass"), QKeySequence("Ctrl+M"),
                     tr("Which keys the rows missed, ranked by their mass"));
  readers = make(view_menu_, {}, tr("&Who reads this token?"), QKeySequence("Ctrl+L"),
                 tr("Ranks the queries that read the selected key"));
  why_changed = make(view_menu_, {}, tr("Wh&y did the answer change?"), QKeySequence("Ctrl+Shift+Y"),
                     tr("The first token that differs, and the rows that produced it"));
  record_exactly = make(view_menu_, {}, tr("&Record this layer exactly"), {},
                        tr("Runs the prompt again and keeps the shown layer's q and k"));
  view_menu_->addSeparator();
  dark = make(view_menu_, "theme", tr("&Dark theme"), QKeySequence("Ctrl+T"), tr("Switches between light and dark"));
  dark->setCheckable(true);
  text_larger = make(view_menu_, {}, tr("&Larger text"), QKeySequence("Ctrl++"), tr("Larger text, up to 200 %"));
  text_larger->setShortcuts({QKeySequence("Ctrl++"), QKeySequence("Ctrl+=")});
  text_smaller = make(view_menu_, {}, tr("&Smaller text"), QKeySequence("Ctrl+-"), tr("Smaller text, down to 75 %"));
  text_normal = make(view_menu_, {}, tr("&Normal text size"), QKeySequence("Ctrl+0"), tr("Text at 100 %"));
  view_menu_->addSeparator();
  present = make(view_menu_, "present", tr("&Present"), QKeySequence("F5"),
                 tr("Hides everything but the page, with large text"));
  present->setCheckable(true);
  reset_layout = make(view_menu_, {}, tr("&Reset layout"), {}, tr("Puts docks and toolbar back"));

  QMenu* talk = bar.addMenu(tr("&Talk"));
  new_talk = make(talk, {}, tr("&New talk"), {}, tr("Begins a talk without steps"));
  open_talk = make(talk, {}, tr("&Open talk…"), {}, tr("Opens a list of views with captions"));
  save_talk = make(talk, {}, tr("&Save talk"), QKeySequence::Save, tr("Writes the talk into its file"));
  save_talk_as = make(talk, {}, tr("Save talk &as…"), {}, tr("Writes the talk into another file"));
  talk->addSeparator();
  add_to_talk = make(talk, {}, tr("A&dd this view to the talk"), QKeySequence("Ctrl+D"),
                     tr("A new step behind the chosen one shows what you look at"));
  update_talk_step = make(talk, {}, tr("&Update the step with this view"), QKeySequence("Ctrl+Shift+D"),
                          tr("The chosen step shows what you look at; its words stay"));
  previous_step =
      make(talk, {}, tr("&Previous step of the talk"), QKeySequence("Alt+PgUp"), tr("Shows the step before"));
  next_step = make(talk, {}, tr("Ne&xt step of the talk"), QKeySequence("Alt+PgDown"), tr("Shows the next step"));
  undo_talk = make(talk, {}, tr("Undo in the talk"), {}, tr("Takes back the last change of the talk"));
  redo_talk = make(talk, {}, tr("Redo in the talk"), {}, tr("Makes the change of the talk again"));
  talk->addSeparator();
  check_talk = make(talk, {}, tr("&Check talk"), {}, tr("Reads every record and holds each step against it"));
  pack_talk = make(talk, {}, tr("&Pack talk…"), {}, tr("One folder with the talk and its records"));
  export_talk = make(talk, {}, tr("&Export talk…"), {}, tr("PDF, pictures, or one HTML file"));

  QMenu* engine = bar.addMenu(tr("E&ngine"));
  connect_engine =
      make(engine, {}, tr("&Connect to engine…"), {}, tr("This machine's engine, or one reached through ssh"));
  restart_engine = make(engine, {}, tr("&Restart engine"), {}, tr("Ends the engine and starts it again"));

  QMenu* help = bar.addMenu(tr("&Help"));
  palette =
      make(help, "palette", tr("Command &palette…"), QKeySequence("Ctrl+Shift+P"), tr("Finds any command by name"));
  keys = make(help, {}, tr("All &keys"), QKeySequence("?"), tr("Lists every key"));
  hints = make(help, {}, tr("Show &hints and notices again"), {}, tr("Brings back what was dismissed"));
  about = make(help, {}, tr("&About Headroom"), {}, tr("Version and licences"));
}

QVector<QAction*> Actions::add_samples(const QStringList& titles, const QStringList& abouts) {
  QVector<QAction*> made;
  for (int i = 0; i < titles.size(); ++i) {
    QAction* action = make(file_menu_, {}, QString(titles[i]).replace("&", "&&"), {}, abouts[i]);
    action->setObjectName("sample:" + titles[i]);
    file_menu_->removeAction(action);
    file_menu_->insertAction(new_run, action);  // below the records that were open
    made << action;
  }
  return made;
}

void Actions::add_dock(QAction* toggle) {
  view_menu_->insertAction(docks_end_, toggle);
  all_.append(toggle);
}

void Actions::fill_toolbar(QToolBar& bar) {
  bar.setToolButtonStyle(Qt::ToolButtonTextBesideIcon);
  bar.addAction(open_run);
  bar.addAction(new_run);
  bar.addSeparator();
  bar.addAction(undo);
  bar.addAction(redo);
  bar.addSeparator();
  bar.addAction(export_figure);
  for (QAction* action : {undo, redo}) {
    if (auto* button = qobject_cast<QToolButton*>(bar.widgetForAction(action)))
      button->setToolButtonStyle(Qt::ToolButtonIconOnly);
  }
}

}  // namespace headroom::gui
