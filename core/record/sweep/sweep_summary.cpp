// SPDX-License-Identifier: Apache-2.0
#include "record/sweep/sweep_summary.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <tuple>

namespace headroom::record {
namespace {

using statistics::Pairs;

constexpr double alarm_level = 0.05;

std::string points_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%+.1f", value);
  return text;
}

/// Rows by task, length, method and seed; the scored ones alone.
class Rows {
 public:
  explicit Rows(const SweepRecord& record) {
    for (const SweepRow& row : record.rows)
      if (!row.sample.calibration) rows_[{row.sample.task, row.sample.length, row.method}][row.sample.seed] = &row;
  }
  using BySeed = std::map<std::int64_t, const SweepRow*>;
  const BySeed& of(std::size_t task, std::int64_t length, std::size_t method) const {
    static const BySeed none;
    const auto found = rows_.find({task, length, method});
    return found == rows_.end() ? none : found->second;
  }
  /// Scores of the samples that both methods have.
  Pairs pairs(std::size_t task, std::int64_t length, std::size_t first, std::size_t second) const {
    Pairs pairs;
    const BySeed& others = of(task, length, second);
    for (const auto& [seed, row] : of(task, length, first)) {
      const auto other = others.find(seed);
      if (other == others.end() || !row->score || !other->second->score) continue;
      pairs.first.push_back(*row->score);
      pairs.second.push_back(*other->second->score);
    }
    return pairs;
  }

 private:
  std::map<std::tuple<std::size_t, std::int64_t, std::size_t>, BySeed> rows_;
};

std::vector<TaskChoice> choose_tasks(const SweepRecord& record) {
  std::vector<TaskChoice> choices;
  for (const std::int64_t length : record.meta.lengths) {
    for (std::size_t task = 0; task < record.meta.tasks.size(); ++task) {
      TaskChoice choice{task, length, 0, {}, TaskMark::not_calibrated};
      double sum = 0;
      for (const SweepRow& row : record.rows) {
        if (!row.sample.calibration || row.sample.task != task || row.sample.length != length || !row.score) continue;
        ++choice.samples;
        sum += *row.score;
      }
      if (!record.meta.tasks[task].has_score) {
        choice.mark = TaskMark::no_score;
      } else if (choice.samples > 0) {
        choice.dense_score = sum / static_cast<double>(choice.samples);
        choice.mark = *choice.dense_score <= floor_score    ? TaskMark::floor
                      : *choice.dense_score > ceiling_score ? TaskMark::ceiling
                                                            : TaskMark::chosen;
      }
      choices.push_back(choice);
    }
  }
  return choices;
}

/// Tasks of a scope at a length.
std::vector<std::size_t> tasks_of(const SweepRecord& record, const std::vector<TaskChoice>& choices, SweepScope scope,
                                  std::int64_t length) {
  std::vector<std::size_t> tasks;
  for (const TaskChoice& choice : choices) {
    if (choice.length != length || !choice.in_macro()) continue;
    const bool in_family = record.meta.tasks[choice.task].in_family;
    if (scope == SweepScope::in_family && !in_family) continue;
    if (scope == SweepScope::out_of_family && in_family) continue;
    tasks.push_back(choice.task);
  }
  return tasks;
}

class Summary {
 public:
  Summary(const SweepRecord& record, double margin) : record_(record), rows_(record) {
    summary_.margin = margin;
    summary_.tasks = choose_tasks(record);
  }

  SweepSummary make() {
    for (const std::int64_t length : record_.meta.lengths) {
      for (std::size_t task = 0; task < record_.meta.tasks.size(); ++task) add_cells(SweepScope::task, {task}, length);
      const auto all = tasks_of(record_, summary_.tasks, SweepScope::macro, length);
      const auto in = tasks_of(record_, summary_.tasks, SweepScope::in_family, length);
      const auto out = tasks_of(record_, summary_.tasks, SweepScope::out_of_family, length);
      add_cells(SweepScope::macro, all, length);
      if (!in.empty() && !out.empty()) {
        add_cells(SweepScope::in_family, in, length);
        add_cells(SweepScope::out_of_family, out, length);
      }
      add_gaps(length, all);
      if (const std::string note = macro_note(record_.meta, summary_, length); !note.empty())
        summary_.notes.push_back(note);
    }
    find_verdicts();
    find_alarms();
    return std::move(summary_);
  }

 private:
  const std::vector<SweepMethod>& methods() const { return record_.meta.methods; }

  void add_cells(SweepScope scope, const std::vector<std::size_t>& tasks, std::int64_t length) {
    for (std::size_t method = 0; method < methods().size() && !tasks.empty(); ++method) {
      SweepCell cell;
      cell.scope = scope;
      cell.task = scope == SweepScope::task ? tasks.front() : 0;
      cell.length = length;
      cell.method = method;
      fill(cell, tasks);
      if (cell.samples > 0) summary_.cells.push_back(cell);
    }
  }

  void fill(SweepCell& cell, const std::vector<std::size_t>& tasks) const {
    std::vector<Pairs> strata;
    std::vector<double> kl;
    double density = 0, p95 = 0, flips = 0, positions = 0, exact = 0, score = 0, dense = 0;
    std::int64_t forced = 0, scored_tasks = 0;
    struct Sum {
      double value = 0;
      std::int64_t count = 0;
      void add(double one) { value += one, ++count; }
      std::optional<double> mean() const {
        return count > 0 ? std::optional(value / static_cast<double>(count)) : std::nullopt;
      }
    } nll, prompt_nll, prompt_kl;
    for (const std::size_t task : tasks) {
      for (const auto& [seed, row] : rows_.of(task, cell.length, cell.method)) {
        ++cell.samples;
        density += row->density;
        if (row->prompt_nll) prompt_nll.add(*row->prompt_nll);
        if (row->prompt_kl) prompt_kl.add(*row->prompt_kl);
        if (!row->forced) continue;
        ++forced;
        if (!methods()[cell.method].is_dense()) kl.push_back(row->forced->kl_mean);
        nll.add(row->forced->nll_mean);
        p95 += row->forced->kl_p95;
        flips += static_cast<double>(row->forced->top1_flips);
        positions += static_cast<double>(row->forced->positions);
        exact += !row->forced->first_divergence;
      }
      Pairs pairs = rows_.pairs(task, cell.length, cell.method, 0);
      if (pairs.first.empty()) continue;
      ++scored_tasks;
      const auto mean = [](const std::vector<double>& values) {
        double sum = 0;
        for (const double value : values) sum += value;
        return sum / static_cast<double>(values.size());
      };
      score += mean(pairs.first);
      dense += mean(pairs.second);
      strata.push_back(std::move(pairs));
    }
    if (cell.samples == 0) return;
    cell.density = density / static_cast<double>(cell.samples);
    if (scored_tasks > 0) {
      cell.score = score / static_cast<double>(scored_tasks);
      cell.dense_score = dense / static_cast<double>(scored_tasks);
      if (!methods()[cell.method].is_dense())
        cell.difference =
            strata.size() == 1 ? statistics::paired_difference(strata.front()) : statistics::macro_difference(strata);
    }
    cell.kl = statistics::mean_of(kl);
    cell.nll = nll.mean();
    cell.prompt_nll = prompt_nll.mean();
    cell.prompt_kl = prompt_kl.mean();
    if (forced == 0) return;
    cell.kl_p95 = p95 / static_cast<double>(forced);
    cell.exact = exact / static_cast<double>(forced);
    if (positions > 0) cell.flips = flips / positions;
  }

  /// A method of the gaps: at this budget, row by row or with blocks of more rows.
  std::optional<std::size_t> find_method(const Budget& budget, auto&& wanted) const {
    for (std::size_t i = 0; i < methods().size(); ++i)
      if (methods()[i].budget == budget && wanted(methods()[i])) return i;
    return std::nullopt;
  }

  void add_gaps(std::int64_t length, const std::vector<std::size_t>& chosen) {
    std::vector<Budget> budgets;
    for (const SweepMethod& method : methods())
      if (method.budget && std::find(budgets.begin(), budgets.end(), *method.budget) == budgets.end())
        budgets.push_back(*method.budget);
    for (const Budget& budget : budgets) {
      const auto oracle = find_method(budget, [](const SweepMethod& one) {
        return one.role == MethodRole::reference && one.score == ScoreKind::mass && one.is_default &&
               one.granularity == 1;
      });
      const auto index = find_method(budget, [](const SweepMethod& one) {
        return one.score == ScoreKind::index && one.is_default && one.granularity == 1;
      });
      if (!oracle) continue;
      std::vector<std::size_t> executed;
      for (std::size_t i = 0; index && i < methods().size(); ++i) {
        const SweepMethod& one = methods()[i];
        const SweepMethod& same = methods()[*index];
        if (one.budget == budget && one.name == same.name && one.parameters == same.parameters && one.granularity > 1)
          executed.push_back(i);
      }
      add_bars(length, budget, SweepScope::macro, chosen, *oracle, index, executed);
      for (std::size_t task = 0; task < record_.meta.tasks.size(); ++task)
        add_bars(length, budget, SweepScope::task, {task}, *oracle, index, executed);
    }
  }

  void add_bars(std::int64_t length, const Budget& budget, SweepScope scope, const std::vector<std::size_t>& tasks,
                std::size_t oracle, std::optional<std::size_t> index, const std::vector<std::size_t>& executed) {
    const auto bar = [&](GapKind kind, std::size_t from, std::size_t to) {
      std::vector<Pairs> strata;
      for (const std::size_t task : tasks) strata.push_back(rows_.pairs(task, length, from, to));
      SweepGap gap;
      gap.kind = kind;
      gap.scope = scope;
      gap.task = scope == SweepScope::task ? tasks.front() : 0;
      gap.length = length;
      gap.budget = to_string(budget);
      gap.from = from;
      gap.to = to;
      gap.granularity = methods()[to].granularity;
      gap.by_construction = kind == GapKind::realization && from == to;
      if (!gap.by_construction)
        gap.difference =
            strata.size() == 1 ? statistics::paired_difference(strata.front()) : statistics::macro_difference(strata);
      if (gap.by_construction || gap.difference.pairs > 0) summary_.gaps.push_back(gap);
    };
    if (tasks.empty()) return;
    bar(GapKind::feasibility, 0, oracle);
    if (!index) return;
    bar(GapKind::indexer, oracle, *index);
    if (executed.empty() && !summary_.gaps.empty() && summary_.gaps.back().difference.pairs > 0)
      bar(GapKind::realization, *index, *index);
    for (const std::size_t one : executed) bar(GapKind::realization, *index, one);
  }

  /// Cells of one method by falling density, so that budgets of every kind have an order.
  void find_verdicts() {
    using Family = std::tuple<SweepScope, std::size_t, std::int64_t, std::string, std::int64_t,
                              std::map<std::string, std::string>>;
    std::map<Family, std::vector<SweepCell*>> families;
    for (SweepCell& cell : summary_.cells) {
      const SweepMethod& method = methods()[cell.method];
      if (method.is_dense() || !cell.difference.bounds) continue;
      families[{cell.scope, cell.task, cell.length, method.name, method.granularity, method.parameters}].push_back(
          &cell);
    }
    for (auto& [family, cells] : families) {
      std::stable_sort(cells.begin(), cells.end(),
                       [](const SweepCell* a, const SweepCell* b) { return a->density > b->density; });
      bool failed = false;
      for (SweepCell* cell : cells) {
        const double loss = -cell->difference.bounds->low;  // the most that dense may be above the method
        cell->verdict = failed ? Verdict::after_failure : loss < summary_.margin ? Verdict::enough : Verdict::not_shown;
        failed = failed || cell->verdict != Verdict::enough;
      }
    }
  }

  void find_alarms() {
    for (const SweepScope scope :
         {SweepScope::macro, SweepScope::in_family, SweepScope::out_of_family, SweepScope::task}) {
      std::vector<SweepCell*> cells;
      std::vector<double> p;
      for (SweepCell& cell : summary_.cells) {
        if (cell.scope != scope || cell.difference.pairs == 0) continue;
        cells.push_back(&cell);
        p.push_back(cell.difference.p_above);
      }
      const std::vector<double> adjusted = statistics::holm(p);
      for (std::size_t i = 0; i < cells.size(); ++i) {
        cells[i]->p_above = adjusted[i];
        cells[i]->alarm = adjusted[i] < alarm_level && cells[i]->difference.mean > 0;
        if (!cells[i]->alarm) continue;
        char p_text[32];
        std::snprintf(p_text, sizeof p_text, "%.2g", adjusted[i]);
        summary_.alarms.push_back(
            "ALARM: " + describe(record_.meta, *cells[i]) + " is above dense by " +
            points_text(cells[i]->difference.mean) + " points (adjusted p " + p_text +
            "): sparse attention that beats the unmodified model is more likely a fault than a gain");
      }
    }
  }

  const SweepRecord& record_;
  Rows rows_;
  SweepSummary summary_;
};

}  // namespace

SweepSummary summarise(const SweepRecord& record, double margin) {
  return Summary(record, margin).make();
}

std::string describe(const SweepMeta& meta, const SweepCell& cell) {
  std::string text =
      meta.methods[cell.method].id + " on " +
      (cell.scope == SweepScope::task ? meta.tasks[cell.task].name
                                      : std::string(sweep_scope_names[static_cast<std::size_t>(cell.scope)]));
  if (cell.length > 0) text += " at " + std::to_string(cell.length) + " tokens";
  return text;
}

std::string macro_note(const SweepMeta& meta, const SweepSummary& summary, std::int64_t length) {
  std::string in, left_out;
  std::size_t count = 0, scored = 0;
  bool calibrated = true;
  for (const TaskChoice& choice : summary.tasks) {
    if (choice.length != length || choice.mark == TaskMark::no_score) continue;
    ++scored;
    calibrated = calibrated && choice.mark != TaskMark::not_calibrated;
    std::string& list = choice.in_macro() ? in : left_out;
    list += (list.empty() ? "" : ", ") + meta.tasks[choice.task].name;
    if (choice.in_macro())
      ++count;
    else
      list += " (" + std::string(task_mark_names[static_cast<std::size_t>(choice.mark)]) + ")";
  }
  if (scored == 0) return {};
  std::string note =
      count == 0 ? "no macro mean" : "macro over " + std::to_string(count) + " of " + std::to_string(scored) + " tasks";
  if (length > 0) note += " at " + std::to_string(length) + " tokens";
  if (count > 0) note += ": " + in;
  if (!left_out.empty()) note += "; left out by calibration: " + left_out;
  if (!calibrated) note += "; not chosen by calibration";
  return note;
}

}  // namespace headroom::record
