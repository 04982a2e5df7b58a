// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/window_dialogs.h"

#include <QApplication>
#include <QDir>
#include <QFileDialog>
#include <QMessageBox>

#include "base/paths.h"
#include "gui/command_palette.h"
#include "views/common/format.h"
#include "views/docks/inspector_dock.h"

namespace headroom::gui {

QStringList choose_records(QWidget* parent, const QString& folder) {
  return QFileDialog::getOpenFileNames(parent, QObject::tr("Open run or sweep"), folder,
                                       QObject::tr("Records and sweeps (*.h5 *.hdf5);;All files (*)"));
}

void show_palette(QWidget* parent, const QVector<QAction*>& actions) {
  auto* palette = new CommandPalette(actions, parent);
  palette->setAttribute(Qt::WA_DeleteOnClose);
  palette->open();
}

void show_keys(QWidget* parent, const QVector<QAction*>& actions) {
  static const QVector<PageKey> page_keys = {
      {"W A S D, arrows", QObject::tr("Attention map: pan, step a cell")},
      {QObject::tr("Wheel, + and -"), QObject::tr("Attention map: zoom")},
      {"F", QObject::tr("Attention map: show the whole map")},
      {"[ and ]", QObject::tr("Attention: previous and next head; with Shift the layer")},
      {", and .", QObject::tr("Attention: previous and next selected key")},
      {"M", QObject::tr("Attention: next missed key")},
      {"P", QObject::tr("Attention: pin the place under the cursor")},
      {QObject::tr("Enter"), QObject::tr("Overview grid: open the head's map")},
  };
  auto* dialog = new KeysDialog(actions, page_keys, parent);
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->open();
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

QString bundled_record() {
  return first_bundled("sample_data/records");
}

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
