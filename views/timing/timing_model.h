// SPDX-License-Identifier: GPL-3.0-or-later
// The numbers of the Timing page as a table: quantities down, methods to the right.
#pragma once

#include <QAbstractTableModel>
#include <QString>
#include <QStringList>
#include <optional>
#include <vector>

#include "views/common/record_queries.h"

namespace headroom::views {

/// T_dense / (T_dense - T_attention): what free attention would bring; nullopt where dense was not timed.
std::optional<double> amdahl_bound(const record::MethodSummary& dense);
/// The dense method timed through LibTorch's attention in the same run; null where it was not.
const record::Quartiles* libtorch_dense(const record::MethodSummary& dense);
/// "2.45x = 1.50x kernel x 1.63x sparsity": over LibTorch's dense, kernel being LibTorch's dense over the fastest
/// dense. Empty where there is no speedup or LibTorch was not timed.
QString product_text(const record::MethodSummary& method, const record::MethodSummary& dense);
/// "1.63x [1.60–1.65]", or why there is none; a ratio that is only a hint says why (record/speedup.h).
QString speedup_text(const record::MethodSummary& method, const record::MethodSummary& baseline, bool timed_in_turn);

class TimingModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  using QAbstractTableModel::QAbstractTableModel;
  /// The summaries must outlive the next call.
  void set_methods(const std::vector<MethodPtr>& methods, MethodPtr baseline, bool timed_in_turn);
  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
  /// Text of a row by its name and a method's column (from 0); empty where there is no such row.
  QString value(const QString& row, int method) const;
  QString csv() const;
  /// Whether a row belongs to the section of stages.
  bool is_stage(int row) const;

 private:
  struct Row {
    QString name;
    QStringList values;  ///< empty: a section heading
    QString tip;
    std::vector<bool> faint;  ///< by method: a ratio that does not hold; empty: none
  };
  std::vector<Row> rows_;
  QStringList titles_;
};

}  // namespace headroom::views
