// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/window_dialogs.h"

#include <QApplication>
#include <QDir>
#include <QFileDialog>
#include <QMessageBox>

#include "base/paths.h"
#include "gui/talk_stage.h"
#include "views/common/format.h"
#include "views/docks/inspector_dock.h"

namespace headroom::gui {

QStringList choose_records(QWidget* parent, const QString& folder) {
  return QFileDialog::getOpenFileNames(parent, QObject::tr("Open run, sweep or bench result"), folder,
                                       QObject::tr("Records, sweeps and bench results (*.h5 *.hdf5 *.json);;"
                                                   "All files (*)"));
}

QVector<KeyGroup> key_groups(const QVector<QAction*>& actions, const QVector<Page>& pages) {
  KeyGroup everywhere{QObject::tr("Everywhere"), {}};
  for (const QAction* action : actions)
    if (const QString keys = keys_of(action); !keys.isEmpty()) everywhere.keys << PageKey{keys, plain_text(action)};
  everywhere.keys << PageKey{QObject::tr("Esc"),
                             QObject::tr("Leave presenting, else close the newest message, else leave the field that "
                                         "is typed in, else cancel the running job")};
  QVector<KeyGroup> groups{everywhere};
  for (const Page& page : pages) {
    KeyGroup group{QObject::tr("On the page %1").arg(page.title), {}};
    for (const views::PageCommand& command : page.commands ? page.commands() : QVector<views::PageCommand>())
      group.keys << PageKey{command.keys, command.title};
    if (page.id == "attention") {
      group.keys << PageKey{QObject::tr("Wheel"), QObject::tr("Zoom where the mouse is; with Shift: to the side")}
                 << PageKey{QObject::tr("Shift+drag"), QObject::tr("Choose query rows")}
                 << PageKey{QObject::tr("Ctrl+drag"), QObject::tr("Choose keys, up to 4,096 in one drag")}
                 << PageKey{QObject::tr("Ctrl+click"), QObject::tr("Add a key to the chosen ones")};
    } else if (page.id == "overview") {
      group.keys << PageKey{QObject::tr("Arrows, Home, End"), QObject::tr("In the grid: another layer or head")}
                 << PageKey{QObject::tr("Enter"), QObject::tr("In the grid: open the head's map")};
    }
    groups << group;
  }
  groups << KeyGroup{QObject::tr("In the list of runs"),
                     {{QObject::tr("Del"), QObject::tr("Close the run; its file stays")}}};
  groups << KeyGroup{
      QObject::tr("In the Talk dock"),
      {{QObject::tr("Enter"), QObject::tr("Show the step")},
       {QObject::tr("Alt+Up, Alt+Down"), QObject::tr("Move the step")},
       {QObject::tr("Del"), QObject::tr("Remove the step")},
       {QObject::tr("Ctrl+Z, Ctrl+Shift+Z"), QObject::tr("Undo and redo of the talk, not of the view")}}};
  groups << KeyGroup{QObject::tr("While a talk is presented"), presenting_keys()};
  return groups;
}

void show_about(QWidget* parent) {
  auto* box = new QMessageBox(
      QMessageBox::NoIcon, QObject::tr("About Headroom"),
      QObject::tr(
          "<h3>Headroom %1</h3><p>How much dense attention is necessary?</p>"
          "<p>Core and command line: Apache-2.0. The window: GPL-3.0-or-later, as it draws with QCustomPlot.</p>"
          "<p>Built on Qt %2, QCustomPlot, HDF5 and LibTorch. The method follows arXiv 2606.07703.</p>")
          .arg(QCoreApplication::applicationVersion(), qVersion()),
      QMessageBox::Close, parent);
  box->setAttribute(Qt::WA_DeleteOnClose);
  box->open();
}

namespace {

QString first_bundled(const char* place) {
  const auto folder = find_data(place);
  if (!folder) return {};
  const QDir dir(QString::fromStdString(folder->string()));
  const QStringList files = dir.entryList({"*.h5"}, QDir::Files, QDir::Name);
  return files.isEmpty() ? QString() : dir.absoluteFilePath(files.first());
}

}  // namespace

QString bundled_sweep() {
  return first_bundled("sample_data/sweeps");
}

QString selection_summary(const views::Selection& selection) {
  const views::RecordPtr record = selection.record();
  if (!record) return QObject::tr("No run is open: open one, or drop a record, a model or a text here");
  const views::ViewState& state = selection.state();
  using Kind = record::HeadSelector::Kind;
  const QString head = state.head.kind == Kind::mean    ? QObject::tr("mean of heads")
                       : state.head.kind == Kind::group ? QObject::tr("KV group %1").arg(state.head.index)
                                                        : QObject::tr("head %1").arg(state.head.index);
  QStringList parts{state.method, QObject::tr("layer %1, %2").arg(state.layer).arg(head)};
  const QLocale& locale = views::number_locale();
  if (state.query_end - state.query_begin == 1) {
    parts << QObject::tr("query %1 “%2”")
                 .arg(locale.toString(qlonglong(state.query_begin)),
                      views::visible_token(record->tokens(), state.query_begin));
  } else if (state.query_end > state.query_begin) {
    parts << QObject::tr("queries %1 to %2")
                 .arg(locale.toString(qlonglong(state.query_begin)), locale.toString(qlonglong(state.query_end - 1)));
  }
  if (state.keys.size() == 1) {
    parts << QObject::tr("key %1 “%2”")
                 .arg(locale.toString(qlonglong(*state.keys.begin())),
                      views::visible_token(record->tokens(), *state.keys.begin()));
  } else if (!state.keys.empty()) {
    parts << QObject::tr("%1 keys").arg(state.keys.size());
  }
  return parts.join(" · ");
}

}  // namespace headroom::gui
