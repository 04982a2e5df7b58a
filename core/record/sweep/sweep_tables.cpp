// SPDX-License-Identifier: Apache-2.0
#include "record/sweep/sweep_tables.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_fields.h"

namespace headroom::record {
namespace {

using nlohmann::json;

std::vector<std::pair<std::string, std::string>> sweep_facts(const SweepMeta& meta) {
  std::string devices;
  for (const std::string& device : meta.devices) devices += (devices.empty() ? "" : "; ") + device;
  std::vector<std::pair<std::string, std::string>> facts = {
      {"model", meta.model_name},
      {"model_sha256", meta.model_sha256},
      {"made", meta.created + " by headroom " + meta.program_version},
      {"device", devices + ", " + meta.dtype}};
  if (!meta.indexer_sha256.empty()) facts.emplace_back("indexer_sha256", meta.indexer_sha256);
  if (meta.is_own_prompts())
    facts.emplace_back("prompts", meta.prompts + ", SHA-256 " + meta.prompts_sha256);
  else
    facts.emplace_back(
        "samples", std::to_string(meta.samples) + " of each task and length, seeds from " + std::to_string(meta.seed));
  if (!meta.complete) facts.emplace_back("incomplete", "some samples are missing");
  return facts;
}

Table new_table(const char* title, const SweepMeta& meta) {
  Table table;
  table.title = title;
  table.facts = sweep_facts(meta);
  return table;
}

template <typename Value>
Cell cell_of(const std::optional<Value>& value) {
  return value ? Cell(*value) : Cell();
}

std::string scope_name(const SweepMeta& meta, SweepScope scope, std::size_t task) {
  return scope == SweepScope::task ? meta.tasks[task].name
                                   : std::string(sweep_scope_names[static_cast<std::size_t>(scope)]);
}

std::string budget_of(const SweepMethod& method) {
  return method.budget ? to_string(*method.budget) : std::string();
}

TaskMark mark_of(const SweepSummary& summary, const SweepCell& cell) {
  for (const TaskChoice& choice : summary.tasks)
    if (choice.task == cell.task && choice.length == cell.length) return choice.mark;
  return TaskMark::not_calibrated;
}

template <std::size_t N, typename Value>
std::string word(const std::array<std::string_view, N>& names, Value value) {
  return std::string(names[static_cast<std::size_t>(value)]);
}

json interval_json(const std::optional<statistics::Interval>& interval) {
  return interval ? json{interval->low, interval->high} : json(nullptr);
}

json difference_json(const statistics::Difference& difference) {
  static constexpr std::array<std::string_view, 4> kinds = {"none", "no pair differs", "paired score (Tango)",
                                                            "bootstrap"};
  if (difference.pairs == 0) return nullptr;
  return {{"points", difference.mean},
          {"pairs", difference.pairs},
          {"discordant", difference.discordant},
          {"interval_95", interval_json(difference.interval)},
          {"one_sided_95", interval_json(difference.bounds)},
          {"kind", word(kinds, difference.kind)},
          {"p", difference.p}};
}

}  // namespace

Table sweep_table(const SweepRecord& record, const SweepSummary& summary) {
  const SweepMeta& meta = record.meta;
  Table table = new_table("Budget against quality", meta);
  for (const std::string& note : summary.notes) table.facts.emplace_back("tasks", note);
  for (const std::string& alarm : summary.alarms) table.facts.emplace_back("alarm", alarm);
  table.columns = {"length",      "over",    "mark",       "method",     "budget",     "granularity", "density",
                   "samples",     "score",   "dense",      "difference", "low_95",     "high_95",     "discordant",
                   "p",           "verdict", "kl_mean",    "kl_low_95",  "kl_high_95", "kl_p95",      "top1_flips",
                   "same_answer", "nll",     "prompt_nll", "prompt_kl",  "alarm"};
  for (const SweepCell& cell : summary.cells) {
    const SweepMethod& method = meta.methods[cell.method];
    const bool compared = cell.difference.pairs > 0;
    const auto& interval = cell.difference.interval;
    const bool kl = cell.kl.count > 0;
    table.rows.push_back(
        {cell.length,
         scope_name(meta, cell.scope, cell.task),
         cell.scope == SweepScope::task ? word(task_mark_names, mark_of(summary, cell)) : std::string(),
         method.id,
         budget_of(method),
         method.granularity,
         cell.density,
         cell.samples,
         cell_of(cell.score),
         cell_of(cell.dense_score),
         compared ? Cell(cell.difference.mean) : Cell(),
         interval ? Cell(interval->low) : Cell(),
         interval ? Cell(interval->high) : Cell(),
         compared ? Cell(cell.difference.discordant) : Cell(),
         compared ? Cell(cell.difference.p) : Cell(),
         word(verdict_names, cell.verdict),
         kl ? Cell(cell.kl.mean) : Cell(),
         cell.kl.interval ? Cell(cell.kl.interval->low) : Cell(),
         cell.kl.interval ? Cell(cell.kl.interval->high) : Cell(),
         kl ? Cell(cell.kl_p95) : Cell(),
         kl ? Cell(cell.flips) : Cell(),
         kl ? Cell(cell.exact) : Cell(),
         cell_of(cell.nll),
         cell_of(cell.prompt_nll),
         cell_of(cell.prompt_kl),
         cell.alarm});
  }
  return table;
}

Table waterfall_table(const SweepRecord& record, const SweepSummary& summary) {
  const SweepMeta& meta = record.meta;
  Table table = new_table("Where the points go", meta);
  table.columns = {"length", "over",    "budget", "gap",  "granularity", "points",
                   "low_95", "high_95", "pairs",  "from", "to",          "note"};
  for (const SweepGap& gap : summary.gaps) {
    const auto& interval = gap.difference.interval;
    table.rows.push_back({gap.length, scope_name(meta, gap.scope, gap.task), gap.budget, word(gap_kind_names, gap.kind),
                          gap.granularity, gap.by_construction ? 0.0 : gap.difference.mean,
                          interval ? Cell(interval->low) : Cell(), interval ? Cell(interval->high) : Cell(),
                          gap.difference.pairs, meta.methods[gap.from].id, meta.methods[gap.to].id,
                          std::string(gap.by_construction ? "0 by construction" : "")});
  }
  return table;
}

Table rows_table(const SweepRecord& record) {
  const SweepMeta& meta = record.meta;
  Table table = new_table("Every sample", meta);
  table.columns = {
      "task",        "length", "seed",       "calibration", "method",     "name",      "budget",     "granularity",
      "tokens",      "score",  "density",    "kl_mean",     "kl_p95",     "positions", "top1_flips", "first_divergence",
      "same_answer", "nll",    "prompt_nll", "prompt_kl",   "answer_cut", "answer"};
  for (const SweepRow& row : record.rows) {
    const SweepMethod& method = meta.methods[row.method];
    const auto forced = [&](auto&& value) { return row.forced ? Cell(value(*row.forced)) : Cell(); };
    table.rows.push_back({meta.tasks[row.sample.task].name,
                          row.sample.length,
                          row.sample.seed,
                          row.sample.calibration,
                          method.id,
                          method.name,
                          budget_of(method),
                          method.granularity,
                          row.tokens,
                          cell_of(row.score),
                          row.density,
                          forced([](const SweepForced& f) { return f.kl_mean; }),
                          forced([](const SweepForced& f) { return f.kl_p95; }),
                          forced([](const SweepForced& f) { return f.positions; }),
                          forced([](const SweepForced& f) { return f.top1_flips; }),
                          row.forced ? cell_of(row.forced->first_divergence) : Cell(),
                          forced([](const SweepForced& f) { return !f.first_divergence; }),
                          forced([](const SweepForced& f) { return f.nll_mean; }),
                          cell_of(row.prompt_nll),
                          cell_of(row.prompt_kl),
                          row.answer_cut,
                          row.answer});
  }
  return table;
}

Table plan_table(const SweepRecord& record, const SweepPlan& plan) {
  Table table = new_table("Budgets for each layer, from mass alone", record.meta);
  table.facts.emplace_back("curves", std::to_string(plan.samples) +
                                         (plan.held_out ? " calibration samples" : " scored samples") + " of up to " +
                                         std::to_string(plan.tokens) + " tokens, dense attention");
  table.columns = {"layer", "budget_for_mass", "mass", "greedy_budget", "greedy_mass"};
  for (std::size_t i = 0; i < plan.by_mass.size(); ++i)
    table.rows.push_back({static_cast<std::int64_t>(plan.by_mass[i].layer), plan.by_mass[i].keys, plan.by_mass[i].mass,
                          plan.greedy[i].keys, plan.greedy[i].mass});
  return table;
}

Table sweep_view(const SweepRecord& record, const SweepSummary& summary, const std::string& view,
                 const PlanRequest& plan) {
  if (view == "sweep" || view == "budget") return sweep_table(record, summary);
  if (view == "waterfall") return waterfall_table(record, summary);
  if (view == "rows") return rows_table(record);
  if (view == "plan") return plan_table(record, plan_budgets(record, plan));
  throw usage_error("a sweep has no view \"" + view + "\": expected sweep, waterfall, rows or plan");
}

json to_json(const SweepMeta& meta, const SweepSummary& summary) {
  json tasks = json::array(), cells = json::array(), gaps = json::array();
  for (const TaskChoice& choice : summary.tasks)
    tasks.push_back({{"task", meta.tasks[choice.task].name},
                     {"length", choice.length},
                     {"mark", word(task_mark_names, choice.mark)},
                     {"in_macro", choice.in_macro()},
                     {"calibration_samples", choice.samples},
                     {"dense_score", json_number(choice.dense_score)}});
  for (const SweepCell& cell : summary.cells) {
    const SweepMethod& method = meta.methods[cell.method];
    const bool kl = cell.kl.count > 0;
    cells.push_back(
        {{"scope", word(sweep_scope_names, cell.scope)},
         {"task", cell.scope == SweepScope::task ? json(meta.tasks[cell.task].name) : json(nullptr)},
         {"length", cell.length},
         {"method", method.id},
         {"density", cell.density},
         {"samples", cell.samples},
         {"score", json_number(cell.score)},
         {"dense_score", json_number(cell.dense_score)},
         {"difference", difference_json(cell.difference)},
         {"verdict", cell.verdict == Verdict::none ? json(nullptr) : json(word(verdict_names, cell.verdict))},
         {"kl",
          kl ? json{{"mean", cell.kl.mean}, {"interval_95", interval_json(cell.kl.interval)}, {"p95", cell.kl_p95}}
             : json(nullptr)},
         {"top1_flips", kl ? json(cell.flips) : json(nullptr)},
         {"same_answer", kl ? json(cell.exact) : json(nullptr)},
         {"nll", json_number(cell.nll)},
         {"prompt_nll", json_number(cell.prompt_nll)},
         {"prompt_kl", json_number(cell.prompt_kl)},
         {"alarm", cell.alarm}});
  }
  for (const SweepGap& gap : summary.gaps)
    gaps.push_back({{"gap", word(gap_kind_names, gap.kind)},
                    {"scope", word(sweep_scope_names, gap.scope)},
                    {"task", gap.scope == SweepScope::task ? json(meta.tasks[gap.task].name) : json(nullptr)},
                    {"length", gap.length},
                    {"budget", gap.budget},
                    {"granularity", gap.granularity},
                    {"from", meta.methods[gap.from].id},
                    {"to", meta.methods[gap.to].id},
                    {"by_construction", gap.by_construction},
                    {"difference", difference_json(gap.difference)}});
  return {{"tasks", tasks},           {"cells", cells},           {"gaps", gaps},
          {"margin", summary.margin}, {"alarms", summary.alarms}, {"notes", summary.notes}};
}

}  // namespace headroom::record
