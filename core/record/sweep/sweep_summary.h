// SPDX-License-Identifier: Apache-2.0
// What a sweep says, from its rows alone: differences from dense with their intervals, verdicts, gaps, alarms
// (METHOD.md, "Quality"). The command line, exports and the window show these figures and compute none of their own.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "record/sweep/sweep_types.h"
#include "statistics/paired.h"

namespace headroom::record {

/// Dense scores of calibration samples at or below the one are a floor, above the other a ceiling: a gap measured there
/// means little, so such tasks are left out of macro means. Every task is shown by itself in any case.
inline constexpr double floor_score = 5, ceiling_score = 95;

enum class TaskMark { not_calibrated, chosen, floor, ceiling, no_score };
inline constexpr std::array<std::string_view, 5> task_mark_names = {"not calibrated", "chosen", "floor", "ceiling",
                                                                    "no score"};
struct TaskChoice {
  std::size_t task = 0;
  std::int64_t length = 0;
  std::int64_t samples = 0;           ///< of calibration
  std::optional<double> dense_score;  ///< their mean
  TaskMark mark = TaskMark::not_calibrated;

  bool in_macro() const { return mark == TaskMark::chosen || mark == TaskMark::not_calibrated; }
};

/// Whether a budget is enough: the one-sided 95 % upper bound of dense - method is below the margin, tested from the
/// largest budget down.
enum class Verdict {
  none,  ///< dense itself, no scores, or too few pairs
  enough,
  not_shown,     ///< the bound is not below the margin: it may be enough, these samples do not say so
  after_failure  ///< a larger budget of the same method was not shown to be enough, so this one is not tested
};
inline constexpr std::array<std::string_view, 4> verdict_names = {"", "enough", "not shown", "not tested"};

/// Which tasks a figure is over.
enum class SweepScope { task, macro, in_family, out_of_family };
inline constexpr std::array<std::string_view, 4> sweep_scope_names = {"task", "macro", "in family", "out of family"};

struct SweepCell {
  SweepScope scope = SweepScope::task;
  std::size_t task = 0;  ///< of scope task
  std::int64_t length = 0;
  std::size_t method = 0;
  std::int64_t samples = 0;                  ///< rows of the method
  std::optional<double> score, dense_score;  ///< means; macro: of the tasks' means
  statistics::Difference difference;         ///< method - dense, points; of dense itself and without scores no pairs
  double density = 1;                        ///< mean
  statistics::Mean kl;                       ///< of the samples' mean KL, nats
  double kl_p95 = 0, flips = 0, exact = 0;   ///< mean of p95; share of positions that flip; share of samples alike
  std::optional<double> nll, prompt_nll, prompt_kl;
  Verdict verdict = Verdict::none;
  double p_above = 1;  ///< adjusted (Holm) over all cells of the scope: that the method is above dense
  bool alarm = false;  ///< it is, at 5 %: more likely a fault than a gain
};

enum class GapKind { feasibility, indexer, realization };
inline constexpr std::array<std::string_view, 3> gap_kind_names = {"feasibility", "indexer", "realization"};

/// A bar of the waterfall, in points; the three of one budget add up to dense - executed.
struct SweepGap {
  GapKind kind = GapKind::feasibility;
  SweepScope scope = SweepScope::macro;
  std::size_t task = 0;
  std::int64_t length = 0;
  std::string budget;            ///< "512"
  std::size_t from = 0, to = 0;  ///< methods: the gap is from - to
  std::int64_t granularity = 1;  ///< of what is executed
  statistics::Difference difference;
  bool by_construction = false;  ///< realization of supports that are executed as they are: 0
};

struct SweepSummary {
  std::vector<TaskChoice> tasks;
  std::vector<SweepCell> cells;  ///< by length, scope, task, method; dense first
  std::vector<SweepGap> gaps;
  double margin = 1;
  std::vector<std::string> alarms;  ///< one sentence each
  std::vector<std::string> notes;   ///< what a reader must know: "macro over 6 of 13 tasks: …"
};

SweepSummary summarise(const SweepRecord& record, double margin = 1);

/// {tasks, cells, gaps, margin, alarms, notes}; no NaN.
nlohmann::json to_json(const SweepMeta& meta, const SweepSummary& summary);
/// "macro over 6 of 13 tasks at 2048 tokens: …; left out: … (floor), … (ceiling)". Empty where there is none to say.
std::string macro_note(const SweepMeta& meta, const SweepSummary& summary, std::int64_t length);
/// "oracle-k512-g1 on niah_single_1 at 2048 tokens": for sentences.
std::string describe(const SweepMeta& meta, const SweepCell& cell);

}  // namespace headroom::record
