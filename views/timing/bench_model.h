// SPDX-License-Identifier: GPL-3.0-or-later
// The rows of a bench result as a table: one line for each length and method.
#pragma once

#include <QAbstractTableModel>
#include <QStringList>
#include <vector>

#include "views/common/open_bench.h"

namespace headroom::views {

class BenchModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  using QAbstractTableModel::QAbstractTableModel;
  /// Null: nothing.
  void set_bench(const BenchPtr& bench);
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
  QString csv() const;

 private:
  struct Cell {
    QString text, tip;
    bool faint = false;  ///< a ratio that does not hold
  };
  QStringList titles_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace headroom::views
