// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/missed/why_model.h"

#include <QFont>
#include <algorithm>

#include "views/common/format.h"
#include "views/common/theme.h"

namespace headroom::views {

QString choice_text(const record::TokenChoice& choice) {
  if (choice.text.empty()) return QObject::tr("token %1").arg(choice.id);
  QString text = QString::fromStdString(choice.text);
  text.replace('\n', "⏎").replace('\t', "⇥").replace('\r', "␍");
  if (text.startsWith(' ')) text[0] = QChar(0x00b7);
  if (text.size() > 32) text = first_characters(text, 31) + "…";
  return QStringLiteral("“%1”").arg(text);
}

QString probability_text(double p) {
  if (p > 0 && p < 0.0001) return QStringLiteral("<\u00a00.0001");
  if (p < 0.01) return QString::number(p, 'g', 2);
  if (p >= 1) return QStringLiteral("1");
  return QString::number(p, 'f', p < 0.99 ? 2 : p < 0.9999 ? 4 : 6);
}

QString difference_text(const record::AnswerPosition& at, const QString& method, bool html) {
  const record::TokenChoice *dense = at.by_dense(), *other = at.by_method();
  if (!dense || !other) return {};
  const auto token = [html](const record::TokenChoice& choice) {
    return html ? QStringLiteral("<b>%1</b>").arg(choice_text(choice).toHtmlEscaped()) : choice_text(choice);
  };
  const QString name = html ? method.toHtmlEscaped() : method;
  const QString where = format_count(at.position + 1);
  if (dense->id == other->id)
    return QObject::tr("At answer token %1 dense (%2) and %3 (%4) both say %5")
        .arg(where, probability_text(dense->dense), name, probability_text(other->method), token(*dense));
  return QObject::tr("At answer token %1 dense says %2 (%3), %4 says %5 (%6; dense gave it %7)")
      .arg(where, token(*dense), probability_text(dense->dense), name, token(*other), probability_text(other->method),
           probability_text(other->dense));
}

const record::AnswerPosition* first_difference(const record::MethodSummary& method) {
  return method.forced && method.forced->first_difference ? &*method.forced->first_difference : nullptr;
}

void WhyModel::set_position(const record::AnswerPosition* position, const QString& method, int dense_look, int look) {
  beginResetModel();
  position_ = position ? *position : record::AnswerPosition();
  method_ = method;
  looks_[0] = dense_look, looks_[1] = look;
  const record::TokenChoice *dense = position_.by_dense(), *other = position_.by_method();
  best_[0] = dense ? dense->id : -1, best_[1] = other ? other->id : -1;
  endResetModel();
}

int WhyModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(position_.candidates.size());
}

QVariant WhyModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid() || index.row() >= rowCount()) return {};
  const record::TokenChoice& choice = position_.candidates[static_cast<std::size_t>(index.row())];
  const int side = index.column() - 1;
  const double p = side == 0 ? choice.dense : choice.method;
  switch (role) {
    case Qt::DisplayRole:
      return side < 0 ? choice_text(choice) : probability_text(p);
    case Qt::TextAlignmentRole:
      return int(Qt::AlignVCenter | (side < 0 ? Qt::AlignLeft : Qt::AlignRight));
    case Qt::FontRole:
      if (side < 0 ? choice.id == best_[0] || choice.id == best_[1] : choice.id == best_[side]) {
        QFont bold;
        bold.setBold(true);
        return bold;
      }
      return {};
    case Qt::ToolTipRole:
      return tr("Token %1").arg(choice.id);
    case share_role:
      return side < 0 ? QVariant() : QVariant(p);
    case look_role:
      return side < 0 ? QVariant() : QVariant(looks_[side]);
    default:
      return {};
  }
}

QVariant WhyModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal) return {};
  if (role == Qt::DisplayRole) return section == 0 ? tr("Next token") : section == 1 ? tr("dense") : method_;
  if (role == Qt::ToolTipRole)
    return section == 0 ? tr("The likeliest next tokens of either")
                        : tr("Probability of the next token, both having read dense's answer up to here");
  return {};
}

void WhyModel::sort(int section, Qt::SortOrder order) {
  emit layoutAboutToBeChanged();
  const auto less = [section](const record::TokenChoice& a, const record::TokenChoice& b) {
    return section == 0 ? a.text < b.text : section == 1 ? a.dense < b.dense : a.method < b.method;
  };
  std::stable_sort(position_.candidates.begin(), position_.candidates.end(), [&](const auto& a, const auto& b) {
    return order == Qt::AscendingOrder ? less(a, b) : less(b, a);
  });
  emit layoutChanged();
}

}  // namespace headroom::views
