// SPDX-License-Identifier: GPL-3.0-or-later
// Runs and sweeps as sortable tables: files with notes, sizes and clean-up; and what was measured on every open run,
// one line a method, so that several prompts and lengths stand beside each other.
#pragma once

#include <QDialog>
#include <QFutureWatcher>

#include "gui/run_library.h"
#include "views/common/selection.h"

class QAbstractItemModel;
class QLabel;
class QPushButton;
class QSortFilterProxyModel;
class QStandardItemModel;
class QTableView;
class QTabWidget;

namespace headroom::gui {

class RunsTable : public QDialog {
  Q_OBJECT
 public:
  RunsTable(views::Selection& selection, SettingsStore& settings, QWidget* parent);
  ~RunsTable() override;

  /// Every file has been read.
  bool settled() const { return !reading_.isRunning() && !again_; }
  QAbstractItemModel* files() const;
  QAbstractItemModel* measurements() const;

 signals:
  void open_requested(const QString& path);

 private:
  void build();
  QWidget* build_files();
  QWidget* build_measurements();
  void read();
  void show_files();
  void show_measurements();
  void show_question();
  void open_chosen();
  void close_chosen();
  void trash_chosen();
  QStringList chosen() const;

  views::Selection& selection_;
  SettingsStore& settings_;
  RunNotes notes_;
  QVector<LibraryFile> library_;
  QFutureWatcher<QVector<LibraryFile>> reading_;
  bool again_ = false, filling_ = false;
  QTabWidget* tabs_;
  QTableView *files_table_, *measured_table_;
  QStandardItemModel *files_, *measured_;
  QSortFilterProxyModel *sorted_files_, *sorted_measured_;
  QLabel *note_, *question_text_;
  QWidget* question_;
  QPushButton *open_, *close_, *trash_;
};

}  // namespace headroom::gui
