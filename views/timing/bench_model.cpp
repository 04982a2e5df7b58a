// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/timing/bench_model.h"

#include <algorithm>

#include "views/common/format.h"
#include "views/common/page_base.h"
#include "views/common/theme.h"
#include "views/timing/bench_view.h"

namespace headroom::views {
namespace {

using record::BenchRow;
using Ratio = std::optional<double> record::Speedups::*;

struct Baseline {
  const char *title, *backend;  ///< no backend: whichever is fastest
  Ratio ratio;
};
constexpr Baseline baselines[] = {
    {QT_TRANSLATE_NOOP("BenchModel", "over the fastest dense"), "", &record::Speedups::fastest_dense},
    {QT_TRANSLATE_NOOP("BenchModel", "over FA2"), "fa2", &record::Speedups::fa2},
    {QT_TRANSLATE_NOOP("BenchModel", "over cuDNN"), "cudnn", &record::Speedups::cudnn},
    {QT_TRANSLATE_NOOP("BenchModel", "over LibTorch"), "libtorch", &record::Speedups::libtorch},
    {QT_TRANSLATE_NOOP("BenchModel", "over llama.cpp"), "llama.cpp", &record::Speedups::llama_cpp}};

/// The row that such a ratio is over; null where it is not among the rows.
const BenchRow* row_of(const Baseline& baseline, const std::vector<BenchRow>& rows, std::int64_t length) {
  if (!*baseline.backend) return record::fastest_dense(rows, length);
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const BenchRow& row) {
    return row.length == length && row.role == MethodRole::dense && row.backend.starts_with(baseline.backend) &&
           row.error.empty();
  });
  return found == rows.end() ? nullptr : &*found;
}

QString text_or_dash(const QString& text) {
  return text.isEmpty() ? QStringLiteral("–") : text;
}

}  // namespace

void BenchModel::set_bench(const BenchPtr& bench) {
  beginResetModel();
  titles_.clear();
  rows_.clear();
  if (bench) {
    const auto& rows = bench->report.rows;
    // A baseline that the machine does not have is no column.
    std::vector<Baseline> shown;
    for (const Baseline& one : baselines)
      if (one.ratio == &record::Speedups::fastest_dense ||
          std::any_of(rows.begin(), rows.end(), [&](const BenchRow& row) { return bool(row.speedup_over.*one.ratio); }))
        shown.push_back(one);
    titles_ << tr("length") << tr("method") << tr("time to first token");
    for (const Baseline& one : shown) titles_ << tr(one.title);
    titles_ << tr("density") << tr("plan") << tr("peak memory");
    for (const BenchRow& row : rows) {
      const BenchRow* dense = record::fastest_dense(rows, row.length);
      const bool ran = row.error.empty();
      const QString why = no_speedup_text(row);
      auto& cells = rows_.emplace_back();
      cells.push_back({format_count(row.length), {}, false});
      cells.push_back({bench_row_title(row), QString::fromStdString(row.note), false});
      if (ran)
        cells.push_back({format_quartiles(row.ttft), tr("%1 passes").arg(row.ttft.repeats), false});
      else
        cells.push_back({tr("not run: %1").arg(first_characters(QString::fromStdString(row.error), 300)), {}, false});
      for (const Baseline& one : shown) {
        const auto& ratio = row.speedup_over.*one.ratio;
        const bool first = one.ratio == &record::Speedups::fastest_dense;
        const QString hint = hint_text(row, row_of(one, rows, row.length));
        if (first && &row == dense)
          cells.push_back({tr("baseline"), {}, false});
        else if (!why.isEmpty() || !ratio)
          cells.push_back({first && ran ? why : QStringLiteral("–"), {}, false});
        else
          cells.push_back({format_fixed(*ratio, 2) + "x" + (hint.isEmpty() ? QString() : ", " + hint),
                           hint.isEmpty() ? QString() : tr("A hint: %1").arg(hint), !hint.isEmpty()});
      }
      cells.push_back({ran ? format_percent(row.density) : QStringLiteral("–"),
                       tr("Causal pairs attended in the timed passes / all causal pairs, over full layers"), false});
      cells.push_back({text_or_dash(QString::fromStdString(row.plan)), {}, false});
      cells.push_back({row.peak_bytes > 0 ? bytes_text(row.peak_bytes) : QStringLiteral("–"),
                       row.peak_bytes_above_weights > 0
                           ? tr("%1 above the weights").arg(bytes_text(row.peak_bytes_above_weights))
                           : QString(),
                       false});
    }
  }
  endResetModel();
}

int BenchModel::rowCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(rows_.size());
}
int BenchModel::columnCount(const QModelIndex& parent) const {
  return parent.isValid() ? 0 : static_cast<int>(titles_.size());
}

QVariant BenchModel::data(const QModelIndex& index, int role) const {
  if (!index.isValid()) return {};
  const Cell& cell = rows_[static_cast<std::size_t>(index.row())][static_cast<std::size_t>(index.column())];
  if (role == Qt::DisplayRole) return cell.text;
  if (role == Qt::ToolTipRole) return plain_tip(cell.tip.isEmpty() ? cell.text : cell.tip);
  if (role == Qt::ForegroundRole && cell.faint) return Theme::instance().muted_text();
  return {};
}

QVariant BenchModel::headerData(int section, Qt::Orientation orientation, int role) const {
  if (role != Qt::DisplayRole || orientation != Qt::Horizontal) return {};
  return titles_.value(section);
}

QString BenchModel::csv() const {
  QStringList cells;
  for (const QString& title : titles_) cells << csv_cell(title);
  QString text = cells.join(',') + "\r\n";
  for (const auto& row : rows_) {
    cells.clear();
    for (const Cell& cell : row) cells << csv_cell(cell.text);
    text += cells.join(',') + "\r\n";
  }
  return text;
}

}  // namespace headroom::views
