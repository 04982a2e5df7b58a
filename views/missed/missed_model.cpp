// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/missed/missed_model.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "views/common/format.h"
#include "views/common/page_base.h"
#include "views/common/theme.h"
#include "views/docks/inspector_dock.h"
#include "views/map/map_data.h"

namespace headroom::views {
namespace {

using Column = MissedModel::Column;

std::string_view bytes_of(const record::TokenTable& tokens, std::int64_t position) {
  const auto i = static_cast<std::size_t>(position);
  if (position < 0 || i >= tokens.begin.size()) return {};
  const auto size = static_cast<std::int64_t>(tokens.text.size());
  const std::int64_t begin = std::clamp<std::int64_t>(tokens.begin[i], 0, size);
  const std::int64_t end = std::clamp<std::int64_t>(tokens.end[i], begin, size);
  return std::string_view(tokens.text).substr(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
}

/// Sorts by what `value` gives; what compares equal keeps its order.
template <typename Line, typename Value>
void sort_lines(std::vector<Line>& lines, bool ascending, Value&& value) {
  std::stable_sort(lines.begin(), lines.end(), [&](const Line& a, const Line& b) {
    return ascending ? value(a) < value(b) : value(b) < value(a);
  });
}

/// Short enough for a narrow column: "0.22", "1.23e-4", "12.3".
QString mass_text(double value) {
  return value < 1 ? short_number(value) : format_number(value);
}

float number_or_least(float value) {
  return std::isnan(value) ? -1.0f : value;
}

}  // namespace

QString reader_text(ReaderSays says) {
  switch (says) {
    case ReaderSays::unknown:
      return {};
    case ReaderSays::every:
      return QObject::tr("kept");
    case ReaderSays::hit:
      return QObject::tr("hit");
    case ReaderSays::missed:
      return QObject::tr("missed");
    case ReaderSays::wasted:
      return QObject::tr("wasted");
    case ReaderSays::other:
      return QObject::tr("kept");
    case ReaderSays::left_out:
      return QObject::tr("left out");
  }
  return {};
}

QString token_in_context(const record::TokenTable& tokens, std::int64_t position, int characters) {
  const auto i = static_cast<std::size_t>(position);
  if (position < 0 || i >= tokens.begin.size()) return {};
  const auto size = static_cast<std::int64_t>(tokens.text.size());
  const std::int64_t begin = std::clamp<std::int64_t>(tokens.begin[i], 0, size);
  const std::int64_t end = std::clamp<std::int64_t>(tokens.end[i], begin, size);
  const auto piece = [&](std::int64_t from, std::int64_t to) {
    return QString::fromUtf8(tokens.text.data() + from, static_cast<qsizetype>(to - from));
  };
  const std::int64_t before = std::max<std::int64_t>(0, begin - 4 * characters);
  const std::int64_t after = std::min(size, end + 4 * characters);
  QString text = last_characters(piece(before, begin), characters) + QStringLiteral("[") + piece(begin, end) +
                 QStringLiteral("]") + first_characters(piece(end, after), characters);
  text.replace('\n', "⏎").replace('\t', "⇥").replace('\r', "␍");
  return text;
}

MissedModel::MissedModel(QObject* parent) : QAbstractTableModel(parent) {}

void MissedModel::set_result(MissedResult result) {
  beginResetModel();
  result_ = std::move(result);
  one_row_ = result_.rows == 1;
  largest_ = 0;
  if (of_readers()) {
    columns_ = {Column::position, Column::token, Column::mass, Column::says};
    if (!result_.readers.empty()) largest_ = static_cast<double>(result_.readers.front().p);
  } else {
    const bool answer = result_.request.scope == MissedScope::answer;
    columns_ = {Column::position, Column::token, Column::mass, Column::share};
    if (answer) {
      columns_.push_back(Column::layers);
      columns_.push_back(Column::most_layer);
    } else if (!one_row_) {
      columns_.push_back(Column::rows);
      columns_.push_back(Column::most_query);
    }
    if (!result_.missed.empty()) largest_ = result_.missed.front().mass;
  }
  endResetModel();
}

int MissedModel::index_of(Column column) const {
  const auto at = std::find(columns_.begin(), columns_.end(), column);
  return at == columns_.end() ? -1 : static_cast<int>(at - columns_.begin());
}

int MissedModel::rowCount(const QModelIndex& parent) const {
  if (parent.isValid()) return 0;
  return static_cast<int>(of_readers() ? result_.readers.size() : result_.missed.size());
}

int MissedModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(columns_.size());
}

MissedPlace MissedModel::place(int row) const {
  if (row < 0 || row >= rowCount()) return {};
  const auto i = static_cast<std::size_t>(row);
  if (of_readers()) return {result_.request.layer, result_.readers[i].query, result_.request.key};
  const record::MissedKey& line = result_.missed[i];
  return {line.layer, line.query, line.key};
}

int MissedModel::row_of_key(std::int64_t key) const {
  if (of_readers()) return -1;
  const auto at = std::find_if(result_.missed.begin(), result_.missed.end(),
                               [key](const record::MissedKey& line) { return line.key == key; });
  return at == result_.missed.end() ? -1 : static_cast<int>(at - result_.missed.begin());
}

std::int64_t MissedModel::position_of(int row) const {
  const auto i = static_cast<std::size_t>(row);
  return of_readers() ? result_.readers[i].query : result_.missed[i].key;
}

QString MissedModel::text_of(int row, Column column) const {
  const auto i = static_cast<std::size_t>(row);
  if (column == Column::position) return format_count(position_of(row));
  if (column == Column::token)
    return result_.request.record ? visible_token(result_.request.record->tokens(), position_of(row), 28) : QString();
  if (of_readers()) {
    const ReaderLine& line = result_.readers[i];
    return column == Column::mass ? mass_text(static_cast<double>(line.p)) : reader_text(line.says);
  }
  const record::MissedKey& line = result_.missed[i];
  switch (column) {
    case Column::mass:
      return line.known_rows > 0 ? mass_text(line.mass) : QStringLiteral("–");
    case Column::share:
      return line.known_rows > 0 && result_.mass > 0 ? format_percent(line.mass / result_.mass) : QStringLiteral("–");
    case Column::rows:
      return format_count(line.rows);
    case Column::layers:
      return QString::number(line.layers);
    case Column::most_query:
      return format_count(line.query);
    case Column::most_layer:
      return QString::number(line.layer);
    default:
      return {};
  }
}

QVariant MissedModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid() || index.row() >= rowCount()) return {};
  const Column what = column(index.column());
  const auto i = static_cast<std::size_t>(index.row());
  switch (role) {
    case Qt::DisplayRole:
      return text_of(index.row(), what);
    case Qt::TextAlignmentRole:
      return int(Qt::AlignVCenter | (what == Column::token || what == Column::says ? Qt::AlignLeft : Qt::AlignRight));
    case Qt::ForegroundRole:
      if (what == Column::says && result_.readers[i].says == ReaderSays::missed) return Theme::instance().missed();
      return {};
    case Qt::ToolTipRole: {
      if (!result_.request.record) return {};
      QString tip = token_in_context(result_.request.record->tokens(), position_of(index.row()));
      if (!of_readers() && !one_row_) {
        const record::MissedKey& line = result_.missed[i];
        tip += tr("\nMost by query %1 in layer %2: p = %3")
                   .arg(format_count(line.query), QString::number(line.layer),
                        std::isnan(line.most) ? tr("not known") : format_number(static_cast<double>(line.most)));
      }
      return tip;
    }
    case share_role:
      if (what != Column::mass || !(largest_ > 0)) return {};
      return (of_readers() ? static_cast<double>(result_.readers[i].p) : result_.missed[i].mass) / largest_;
    case missed_role:
      return !of_readers() || result_.readers[i].says == ReaderSays::missed;
    default:
      return {};
  }
}

QVariant MissedModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (orientation != Qt::Horizontal || section >= columnCount()) return {};
  const bool readers = of_readers();
  const bool answer = result_.request.scope == MissedScope::answer;
  QString title, tip;
  switch (column(section)) {
    case Column::position:
      title = readers ? tr("Query") : tr("Key");
      tip = tr("Position in the prompt");
      break;
    case Column::token:
      title = tr("Token");
      tip = tr("Its text; the tool tip of a line shows what stands around it");
      break;
    case Column::mass:
      title = readers || one_row_ ? tr("p") : tr("Missed mass");
      tip = readers   ? tr("Probability that the query gives to the key, of the shown head or heads")
            : one_row_ ? tr("Probability that the row gives to the key, of the shown head or heads")
            : answer   ? tr("Sum over the layers of the probability that the row gives to the key")
                       : tr("Sum over the rows that missed the key of the probability that they give to it");
      break;
    case Column::share:
      title = tr("Share");
      tip = tr("Of all missed mass in this list");
      break;
    case Column::rows:
      title = tr("Rows");
      tip = tr("How many rows missed the key");
      break;
    case Column::layers:
      title = tr("Layers");
      tip = tr("In how many layers the row missed the key");
      break;
    case Column::most_query:
      title = tr("Most in");
      tip = tr("The query that gives most probability to the key among those that missed it: the line leads there");
      break;
    case Column::most_layer:
      title = tr("Most in layer");
      tip = tr("Where the row gives most probability to the key: the line leads there");
      break;
    case Column::says:
      title = tr("Kept");
      tip = tr("hit: selected, and among the true top-k T · missed: in T, not selected · kept: selected, not in T · "
               "wasted: selected with almost no mass · left out: neither");
      break;
  }
  if (role == Qt::DisplayRole) return title;
  if (role == Qt::ToolTipRole) return tip;
  return {};
}

void MissedModel::sort(int section, Qt::SortOrder order) {
  if (section < 0 || section >= columnCount() || rowCount() < 2) return;
  const bool up = order == Qt::AscendingOrder;
  const Column by = column(section);
  emit layoutAboutToBeChanged();
  const record::TokenTable* tokens = result_.request.record ? &result_.request.record->tokens() : nullptr;
  if (of_readers()) {
    auto& lines = result_.readers;
    if (by == Column::position) sort_lines(lines, up, [](const ReaderLine& l) { return l.query; });
    if (by == Column::token && tokens)
      sort_lines(lines, up, [&](const ReaderLine& l) { return bytes_of(*tokens, l.query); });
    if (by == Column::mass) sort_lines(lines, up, [](const ReaderLine& l) { return l.p; });
    if (by == Column::says) sort_lines(lines, up, [](const ReaderLine& l) { return static_cast<int>(l.says); });
  } else {
    using Line = record::MissedKey;
    auto& lines = result_.missed;
    if (by == Column::position) sort_lines(lines, up, [](const Line& l) { return l.key; });
    if (by == Column::token && tokens) sort_lines(lines, up, [&](const Line& l) { return bytes_of(*tokens, l.key); });
    if (by == Column::mass || by == Column::share) sort_lines(lines, up, [](const Line& l) { return l.mass; });
    if (by == Column::rows) sort_lines(lines, up, [](const Line& l) { return l.rows; });
    if (by == Column::layers) sort_lines(lines, up, [](const Line& l) { return l.layers; });
    if (by == Column::most_query) sort_lines(lines, up, [](const Line& l) { return l.query; });
    if (by == Column::most_layer)
      sort_lines(lines, up, [](const Line& l) { return std::pair(l.layer, number_or_least(l.most)); });
  }
  emit layoutChanged();
}

QString MissedModel::csv(const MissedResult& result, const QString& facts, const std::stop_token& stop) {
  QString out;
  for (const QString& line : facts.split('\n', Qt::SkipEmptyParts)) out += QStringLiteral("# ") + line + "\r\n";
  const auto digits = [](double value) { return std::isnan(value) ? QString() : QString::number(value, 'g', 9); };
  const auto token = [&](std::int64_t position) {
    const std::string_view text =
        result.request.record ? bytes_of(result.request.record->tokens(), position) : std::string_view();
    return csv_cell(QString::fromUtf8(text.data(), static_cast<qsizetype>(text.size())));
  };
  std::int64_t written = 0;
  if (result.request.question == MissedQuestion::readers) {
    out += QStringLiteral("query,token,p,kept\r\n");
    for (const ReaderLine& line : result.readers) {
      if (++written % 1024 == 0 && stop.stop_requested()) return {};
      out += QStringLiteral("%1,").arg(line.query) + token(line.query) + ',' + digits(static_cast<double>(line.p)) +
             ',' + reader_text(line.says) + "\r\n";
    }
    return out;
  }
  out += QStringLiteral("key,token,missed_mass,rows,rows_with_mass,layers,most_layer,most_query,most_p\r\n");
  for (const record::MissedKey& line : result.missed) {
    if (++written % 1024 == 0 && stop.stop_requested()) return {};
    out += QStringLiteral("%1,").arg(line.key) + token(line.key) + ',' +
           (line.known_rows > 0 ? digits(line.mass) : QString()) +
           QStringLiteral(",%1,%2,%3,%4,%5,").arg(line.rows).arg(line.known_rows).arg(line.layers).arg(line.layer).arg(
               line.query) +
           digits(static_cast<double>(line.most)) + "\r\n";
  }
  return out;
}

}  // namespace headroom::views
