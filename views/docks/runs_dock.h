// SPDX-License-Identifier: GPL-3.0-or-later
// The open records: name, model, tokens, methods, when, complete or not. Choosing one shows it; closing can be undone.
#pragma once

#include <QAbstractListModel>
#include <QWidget>

#include "views/common/selection.h"

class QListView;
class QPushButton;

namespace headroom::views {

class RunsModel : public QAbstractListModel {
  Q_OBJECT
 public:
  enum Role { ModelRole = Qt::UserRole, DetailRole, StateRole, PathRole };
  RunsModel(Selection& selection, QObject* parent);
  int rowCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  void reload();

 private:
  Selection& selection_;
  std::vector<RecordPtr> runs_;
  std::vector<SweepPtr> sweeps_;  ///< below the runs
};

class RunsDock : public QWidget {
  Q_OBJECT
 public:
  explicit RunsDock(Selection* selection, QWidget* parent = nullptr);
  QAbstractItemModel* model() const { return model_; }
  /// Takes the shown run off the list; its file stays, Undo brings it back.
  void close_current();

 signals:
  void open_requested();
  /// A sweep of the list: it stands on the Budget page.
  void sweep_chosen();
  /// All of them as a table, with notes and sizes.
  void table_requested();

 private:
  void follow(unsigned mask);
  void close_run(int row);
  void show_menu(const QPoint& position);

  Selection* selection_;
  RunsModel* model_;
  QListView* list_;
  QPushButton* close_;
};

}  // namespace headroom::views
