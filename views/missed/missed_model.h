// SPDX-License-Identifier: GPL-3.0-or-later
// Lines of the missed list (or of "who reads this token?") as a table that sorts by any column.
#pragma once

#include <QAbstractTableModel>
#include <vector>

#include "views/missed/missed_scan.h"

namespace headroom::views {

/// Where a line leads.
struct MissedPlace {
  int layer = -1;
  std::int64_t query = -1, key = -1;
};

class MissedModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Roles {
    share_role = Qt::UserRole,  ///< 0 … 1 of the largest value, for a bar behind the number; invalid: no bar
    missed_role                 ///< whether the bar and number are of missed mass
  };
  /// Columns are told by their meaning, whatever stands in them now.
  enum class Column { position, token, mass, share, rows, layers, most_query, most_layer, says };

  explicit MissedModel(QObject* parent = nullptr);
  void set_result(MissedResult result);
  const MissedResult& result() const { return result_; }
  bool of_readers() const { return result_.request.question == MissedQuestion::readers; }
  Column column(int index) const { return columns_[static_cast<std::size_t>(index)]; }
  int index_of(Column column) const;  ///< -1: not shown
  /// The line's pair; of several rows the one that missed most.
  MissedPlace place(int row) const;
  int row_of_key(std::int64_t key) const;  ///< -1: not in the list

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override;
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
  void sort(int column, Qt::SortOrder order) override;

  /// Every line in the order shown, whole numbers and digits as they are, behind comment lines of what it is of. With a
  /// stop request: nothing.
  static QString csv(const MissedResult& result, const QString& facts, const std::stop_token& stop = {});

 private:
  QString text_of(int row, Column column) const;
  std::int64_t position_of(int row) const;

  MissedResult result_;
  std::vector<Column> columns_;
  double largest_ = 0;
  bool one_row_ = false;
};

/// "hit", "missed", … in words of the window.
QString reader_text(ReaderSays says);
/// The text around a token, the token itself between brackets, on one line.
QString token_in_context(const record::TokenTable& tokens, std::int64_t position, int characters = 40);

}  // namespace headroom::views
