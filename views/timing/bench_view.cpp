// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/timing/bench_view.h"

#include <QStringList>
#include <algorithm>
#include <map>
#include <set>

#include "views/common/format.h"
#include "views/common/record_queries.h"
#include "views/timing/timing_plot.h"

namespace headroom::views {
namespace {

using record::BenchReport;
using record::BenchRow;
using record::NoSpeedup;

QString words(const std::string& text) {
  return QString::fromStdString(text);
}

std::vector<std::int64_t> lengths_of(const BenchReport& report) {
  std::vector<std::int64_t> lengths;
  for (const BenchRow& row : report.rows) lengths.push_back(row.length);
  std::sort(lengths.begin(), lengths.end());
  lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
  return lengths;
}

QString range_text(const std::vector<std::int64_t>& lengths) {
  if (lengths.size() == 1) return QObject::tr("%1 tokens").arg(format_count(lengths.front()));
  return QObject::tr("%1 lengths, %2–%3 tokens")
      .arg(lengths.size())
      .arg(format_count(lengths.front()), format_count(lengths.back()));
}

struct Look {
  int colour = 0, mark = 0;
};

/// By bench_row_title(): a method has its colour and mark; what shares its colour (dense baselines; other settings of a
/// method) has a mark of its own.
std::map<QString, Look> looks_of(const BenchReport& report) {
  // Results of earlier versions do not say how a method looks: theirs differ from each other, at least.
  std::map<std::string, int> methods;
  for (const BenchRow& row : report.rows) {
    if (row.role == MethodRole::dense) continue;
    const int next = 1 + static_cast<int>(methods.size()) % (num_method_looks - 1);
    methods.try_emplace(row.method, row.look > 0 ? row.look : next);
  }
  std::set<int> taken;
  for (const auto& [method, look] : methods) taken.insert(look);
  // Those first that can be filled: open ones are hints.
  constexpr int order[] = {3, 4, 5, 2, 1, 12, 13, 14, 15, 16, 17, 7, 6, 9, 8, 11, 10};
  const auto free_mark = [&] {
    for (const int mark : order)
      if (taken.insert(mark).second) return mark;
    return 0;
  };
  std::set<std::string> seen;
  std::map<QString, Look> looks;
  for (const BenchRow& row : report.rows) {
    const QString title = bench_row_title(row);
    if (looks.contains(title)) continue;
    if (row.role == MethodRole::dense) {
      looks[title] = {0, free_mark()};
    } else {
      const int look = methods.at(row.method);
      looks[title] = {look, seen.insert(row.method).second ? look : free_mark()};
    }
  }
  return looks;
}

/// Names of the rows that `counts`, each once.
QStringList titles_where(const BenchReport& report, auto&& counts) {
  QStringList titles;
  for (const BenchRow& row : report.rows)
    if (counts(row)) titles << bench_row_title(row);
  titles.removeDuplicates();
  return titles;
}

QString listed(const QStringList& titles) {
  return titles.join(QStringLiteral("; "));
}

}  // namespace

QString bench_row_title(const BenchRow& row) {
  if (row.role == MethodRole::dense) return QObject::tr("Dense, %1").arg(backend_title(row.backend));
  QStringList parts{words(row.title.empty() ? row.method : row.title)};
  if (row.budget) parts << budget_text(*row.budget);
  if (row.granularity > 1) parts << QObject::tr("shared by %1 queries").arg(row.granularity);
  if (const std::string parameters = record::row_parameters(row); !parameters.empty()) parts << words(parameters);
  return parts.join(QStringLiteral(", "));
}

QString no_speedup_text(const BenchRow& row) {
  switch (record::no_speedup(row)) {
    case NoSpeedup::none:
      return {};
    case NoSpeedup::reference:
      return QObject::tr("none: a reference");
    case NoSpeedup::labelled:
      return QObject::tr("none: %1").arg(words(row.label));
    case NoSpeedup::nothing_sparse:
      return QObject::tr("none: nothing sparse ran");
    case NoSpeedup::not_run:
      return QObject::tr("not run");
    case NoSpeedup::another_program:
      return QObject::tr("none: another program");
    case NoSpeedup::not_stated:
      break;
  }
  return QObject::tr("none in the file");
}

QString hint_text(const BenchRow& row, const BenchRow* dense) {
  if (!dense || record::is_firm(row, *dense)) return {};
  const bool single = row.ttft.repeats < 2 || dense->ttft.repeats < 2;
  return single ? QObject::tr("a single pass") : QObject::tr("on a busy machine");
}

QString bytes_text(std::int64_t bytes) {
  const auto size = static_cast<double>(bytes);
  return bytes < 1'000'000'000 ? QObject::tr("%1 MB").arg(format_fixed(size / 1e6, 0))
                               : QObject::tr("%1 GB").arg(format_fixed(size / 1e9, 1));
}

ContextPicture speedups_of(const BenchReport& report) {
  ContextPicture picture;
  picture.baseline = QObject::tr("the fastest dense");
  picture.axis = QObject::tr("over fastest dense");
  picture.note = QObject::tr("Bars: quartiles of the row's own passes; open markers are hints. A bench measures no "
                             "quality.");
  for (const std::int64_t length : lengths_of(report))
    if (const BenchRow* dense = record::fastest_dense(report.rows, length))
      if (const auto bound = record::free_attention_bound(*dense))
        picture.bounds.emplace_back(static_cast<double>(length), *bound);
  const auto looks = looks_of(report);
  for (const BenchRow& row : report.rows) {
    const BenchRow* dense = record::fastest_dense(report.rows, row.length);
    if (!dense || record::no_speedup(row) != NoSpeedup::none) continue;
    const double ratio = *row.speedup_over.fastest_dense, of_median = ratio * row.ttft.median;
    const QString title = bench_row_title(row), hint = hint_text(row, dense);
    QString tip = QObject::tr("%1, %2 tokens\n%3x over the fastest dense (%4)")
                      .arg(title, format_count(row.length), format_fixed(ratio, 2), backend_title(dense->backend));
    if (!hint.isEmpty()) tip += QObject::tr("\na hint: %1").arg(hint);
    SpeedupPoint point;
    point.look = looks.at(title).colour;
    point.mark = looks.at(title).mark;
    point.family = title;
    point.tip = tip;
    point.tokens = static_cast<double>(row.length);
    point.ratio = point.low = point.high = ratio;
    if (row.ttft.repeats > 1 && row.ttft.q1 > 0) {
      point.low = of_median / row.ttft.q3;
      point.high = of_median / row.ttft.q1;
    }
    point.firm = hint.isEmpty();
    point.joined = true;
    picture.points.push_back(point);
  }
  return picture;
}

QString bench_caption(const BenchReport& report) {
  QStringList parts{words(report.device), words(report.dtype), range_text(lengths_of(report)), words(report.config)};
  if (report.threads > 0)
    parts << (report.threads == 1 ? QObject::tr("1 thread") : QObject::tr("%1 threads").arg(report.threads));
  int fewest = 1 << 30, most = 0;
  for (const BenchRow& row : report.rows) {
    if (!row.error.empty()) continue;
    fewest = std::min(fewest, row.ttft.repeats);
    most = std::max(most, row.ttft.repeats);
  }
  if (most == 1) parts << QObject::tr("one timed pass a row: no spread is known");
  if (most > 1)
    parts << (fewest == most ? QObject::tr("%1 timed passes a row").arg(most)
                             : QObject::tr("%1–%2 timed passes a row").arg(fewest).arg(most));
  parts.removeAll(QString());
  return parts.join(QStringLiteral(" · "));
}

QString bench_bound_text(const BenchReport& report) {
  QStringList bounds;
  const auto lengths = lengths_of(report);
  for (const std::int64_t length : lengths) {
    if (lengths.size() > 4 && length != lengths.front() && length != lengths.back()) continue;
    const BenchRow* dense = record::fastest_dense(report.rows, length);
    const auto bound = dense ? record::free_attention_bound(*dense) : std::nullopt;
    if (bound)
      bounds << QObject::tr("%1x at %2 tokens").arg(format_fixed(*bound, 2), format_count(length));
  }
  if (bounds.isEmpty()) {
    const bool timed = std::any_of(lengths.begin(), lengths.end(), [&](std::int64_t length) {
      return record::fastest_dense(report.rows, length) != nullptr;
    });
    return timed ? QObject::tr("No bound can be given: the dense rows' attention was not timed apart.")
                 : QObject::tr("No bound can be given: no dense row was timed.");
  }
  return QObject::tr("Were attention free, the fastest dense would be at most this much faster: %1.")
      .arg(bounds.join(QStringLiteral(", ")));
}

QString bench_note_text(const BenchReport& report) {
  QStringList sentences;
  const bool random = report.weights.starts_with("random");
  if (random) sentences << QObject::tr("Random weights: no quality.");
  const QStringList drawn = titles_where(report, [](const BenchRow& row) { return row.supports == "measured"; });
  if (!drawn.isEmpty())
    sentences << QObject::tr("Supports drawn with the overlap of a trained model's, not selected, in %1: no quality.")
                     .arg(listed(drawn));
  else
    sentences << (random ? QObject::tr("Supports: each method's own, of these weights.")
                         : QObject::tr("Supports: each method's own."));
  if (!report.complete) sentences << QObject::tr("The bench did not finish: further lengths are missing.");
  const auto add = [&](const QString& sentence, const QStringList& titles) {
    if (!titles.isEmpty()) sentences << sentence.arg(listed(titles));
  };
  const auto because = [&](NoSpeedup why) {
    return titles_where(report, [why](const BenchRow& row) { return record::no_speedup(row) == why; });
  };
  add(QObject::tr("%1: a reference that is not deployable; no speedup."), because(NoSpeedup::reference));
  QStringList labels;
  for (const BenchRow& row : report.rows)
    if (record::no_speedup(row) == NoSpeedup::labelled) labels << words(row.label);
  labels.removeDuplicates();
  add(QObject::tr("%2: %1; no speedup.").arg(labels.join(QStringLiteral(", ")), QStringLiteral("%1")),
      because(NoSpeedup::labelled));
  add(QObject::tr("%1: at some lengths every layer ran dense, so that nothing sparse was timed; no speedup there."),
      because(NoSpeedup::nothing_sparse));
  add(QObject::tr("%1: another program, with its own arithmetic; no speedup is said of it."),
      because(NoSpeedup::another_program));
  add(QObject::tr("%1: not run at some lengths."), because(NoSpeedup::not_run));
  add(QObject::tr("Other work took processors while these were timed: %1."),
      titles_where(report, [](const BenchRow& row) { return row.load && row.load->disturbed(); }));
  QStringList notes;
  for (const BenchRow& row : report.rows)
    if (!row.note.empty() && row.staged) notes << words(row.note);
  notes.removeDuplicates();
  for (const QString& note : notes) sentences << note.left(1).toUpper() + note.mid(1) + '.';
  if (!report.device_note.empty()) sentences << words(report.device_note);
  return sentences.join(' ');
}

}  // namespace headroom::views
