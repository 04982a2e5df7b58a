// SPDX-License-Identifier: GPL-3.0-or-later
// Why an answer changed: the likeliest tokens of dense and of a method at a position of dense's answer, and the same in
// a sentence.
#pragma once

#include <QAbstractTableModel>
#include <optional>

#include "record/types.h"

namespace headroom::views {

class WhyModel : public QAbstractTableModel {
  Q_OBJECT
 public:
  enum Roles { share_role = Qt::UserRole, look_role };
  explicit WhyModel(QObject* parent = nullptr) : QAbstractTableModel(parent) {}
  /// `dense_look`, `look`: colours of the two columns (Theme::method). Null: empty.
  void set_position(const record::AnswerPosition* position, const QString& method, int dense_look, int look);

  int rowCount(const QModelIndex& parent = {}) const override;
  int columnCount(const QModelIndex& parent = {}) const override { return parent.isValid() ? 0 : 3; }
  QVariant data(const QModelIndex& index, int role) const override;
  QVariant headerData(int section, Qt::Orientation orientation, int role) const override;
  void sort(int column, Qt::SortOrder order) override;

 private:
  record::AnswerPosition position_;
  QString method_;
  int looks_[2] = {0, 0};
  std::int32_t best_[2] = {-1, -1};
};

/// A candidate's text in quotes, white space made visible: “·Paris”.
QString choice_text(const record::TokenChoice& choice);
/// "0.81", "0.0031", "0.9987": never a false 1 or 0.
QString probability_text(double p);
/// "At answer token 3 dense says “·Paris” (0.81), this method “·Lyon” (0.44; dense gave it 0.07)"; empty without
/// candidates. `html`: the two tokens bold.
QString difference_text(const record::AnswerPosition& at, const QString& method, bool html = false);
/// The first position where the two differ; null where the record does not hold it, or they do not differ.
const record::AnswerPosition* first_difference(const record::MethodSummary& method);

}  // namespace headroom::views
