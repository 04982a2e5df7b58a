// SPDX-License-Identifier: Apache-2.0
#include "sweep_text.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/utf8.h"
#include "run_table.h"

namespace headroom::cli {
namespace {

using record::SweepCell;
using record::SweepScope;

std::string interval_text(const statistics::Difference& difference) {
  if (difference.pairs == 0) return nothing;
  std::string shown = text("%+.1f", difference.mean);
  if (difference.interval) return shown + text(" [%+.1f, %+.1f]", difference.interval->low, difference.interval->high);
  return shown + " (no interval)";
}

std::string kl_text(const SweepCell& cell) {
  if (cell.kl.count == 0) return nothing;
  std::string shown = text("%.2g", cell.kl.mean);
  if (cell.kl.interval) shown += text(" [%.2g, %.2g]", cell.kl.interval->low, cell.kl.interval->high);
  return shown;
}

std::string verdict_text(const SweepCell& cell, double margin) {
  if (cell.verdict == record::Verdict::enough) return text("enough to within %g", margin);
  return std::string(record::verdict_names[static_cast<std::size_t>(cell.verdict)]);
}

std::string table_of(const record::SweepRecord& record, const record::SweepSummary& summary, SweepScope scope,
                     std::size_t task, std::int64_t length) {
  const auto& meta = record.meta;
  std::vector<std::vector<std::string>> rows = {{"method", "budget", "density", "samples", "score", "from dense [95 %]",
                                                 "KL [95 %]", "flips", "same answer", "verdict"}};
  for (const SweepCell& cell : summary.cells) {
    if (cell.scope != scope || cell.length != length || (scope == SweepScope::task && cell.task != task)) continue;
    const auto& method = meta.methods[cell.method];
    const bool forced = cell.kl.count > 0;
    std::string budget = method.budget ? to_string(*method.budget) : nothing;
    if (method.granularity > 1) budget += ", B " + std::to_string(method.granularity);
    rows.push_back({method.id, budget, text("%.1f %%", 100 * cell.density), std::to_string(cell.samples),
                    cell.score ? text("%.1f", *cell.score) : nothing, interval_text(cell.difference), kl_text(cell),
                    forced ? text("%.1f %%", 100 * cell.flips) : nothing,
                    forced ? text("%.0f %%", 100 * cell.exact) : nothing,
                    verdict_text(cell, summary.margin) + (cell.alarm ? " ALARM" : "")});
  }
  return rows.size() > 1 ? align_columns(rows) : std::string();
}

std::string gaps_text(const record::SweepRecord& record, const record::SweepSummary& summary, std::int64_t length) {
  const bool macro = std::any_of(summary.gaps.begin(), summary.gaps.end(), [&](const auto& gap) {
    return gap.scope == SweepScope::macro && gap.length == length;
  });
  std::vector<std::vector<std::string>> rows = {{"gap", "over", "budget", "points [95 %]", "from", "to"}};
  for (const auto& gap : summary.gaps) {
    if (gap.length != length || (macro && gap.scope != SweepScope::macro)) continue;
    rows.push_back({std::string(record::gap_kind_names[static_cast<std::size_t>(gap.kind)]),
                    gap.scope == SweepScope::macro ? "macro" : record.meta.tasks[gap.task].name, gap.budget,
                    gap.by_construction ? "0 by construction" : interval_text(gap.difference),
                    record.meta.methods[gap.from].id, record.meta.methods[gap.to].id});
  }
  return rows.size() > 1 ? "where the points go (they add up to dense - executed)\n" + align_columns(rows) + "\n"
                         : std::string();
}

}  // namespace

std::string duration_text(double seconds) {
  if (seconds < 0) return "unknown";
  if (seconds < 60) return text("%.0f s", seconds);
  const auto minutes = static_cast<long long>(seconds / 60 + 0.5);
  return minutes < 60 ? text("%lld min", minutes) : text("%lld h %lld min", minutes / 60, minutes % 60);
}

std::string sweep_text(const record::SweepRecord& record, const record::SweepSummary& summary) {
  const auto& meta = record.meta;
  std::string devices;
  for (const auto& device : meta.devices) devices += (devices.empty() ? "" : "; ") + device;
  std::string shown =
      printable_text(meta.model_name) + " (" + meta.architecture + "), " + meta.dtype + ", " + devices + "\n";
  if (meta.shards > 1) shown += "shard " + std::to_string(meta.shard) + " of " + std::to_string(meta.shards) + "\n";
  for (const std::string& alarm : summary.alarms) shown += printable_text(alarm) + "\n";
  for (const std::int64_t length : meta.lengths) {
    const std::string at = length > 0 ? " at " + std::to_string(length) + " tokens" : "";
    if (const std::string note = macro_note(meta, summary, length); !note.empty())
      shown += "\n" + printable_text(note) + "\n";
    if (meta.tasks.size() > 1) {
      for (const SweepScope scope : {SweepScope::macro, SweepScope::in_family, SweepScope::out_of_family})
        if (const std::string table = table_of(record, summary, scope, 0, length); !table.empty())
          shown += (scope == SweepScope::macro
                        ? ""
                        : "\n" + std::string(record::sweep_scope_names[static_cast<std::size_t>(scope)]) + "\n") +
                   table;
    }
    for (std::size_t task = 0; task < meta.tasks.size(); ++task)
      if (const std::string table = table_of(record, summary, SweepScope::task, task, length); !table.empty())
        shown += "\n" + printable_text(meta.tasks[task].name) + at + "\n" + table;
    if (const std::string gaps = gaps_text(record, summary, length); !gaps.empty()) shown += "\n" + gaps;
  }
  const bool enough = std::any_of(summary.cells.begin(), summary.cells.end(),
                                  [](const auto& cell) { return cell.verdict == record::Verdict::enough; });
  if (enough)
    shown += "\n\"enough\" was chosen on these samples: confirm it on fresh ones, e.g. --seed " +
             std::to_string(meta.seed + meta.samples) + "\n";
  return shown;
}

SweepLine::SweepLine(int shard, int shards) : terminal_(::isatty(STDERR_FILENO) == 1), shard_(shard), shards_(shards) {}

void SweepLine::clear() {
  if (shown_) std::fputs("\r\033[K", stderr);
  shown_ = false;
}

void SweepLine::show(const experiment::SweepProgress& progress) {
  const auto now = std::chrono::steady_clock::now();
  const auto pause = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(30'000);
  if (!first_ && now - last_ < pause) return;
  first_ = false;
  last_ = now;
  std::string line =
      shards_ > 1 ? "shard " + std::to_string(shard_) + "/" + std::to_string(shards_) + ": " : std::string();
  line += std::to_string(progress.rows) + " of " + std::to_string(progress.rows_total) + " rows";
  if (progress.shard_eta_s >= 0) line += ", " + duration_text(progress.shard_eta_s) + " left";
  if (shards_ > 1 && progress.whole_eta_s >= 0)
    line += " (all shards side by side: " + duration_text(progress.whole_eta_s) + ")";
  line += "; " + progress.sample + ": " + progress.method;
  std::fprintf(stderr, terminal_ ? "\r\033[K%s" : "%s\n", printable_text(line).c_str());
  std::fflush(stderr);
  shown_ = terminal_;
}

}  // namespace headroom::cli
