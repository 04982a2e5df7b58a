// SPDX-License-Identifier: Apache-2.0
#include "run_table.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>

#include "base/utf8.h"
#include "experiment/passes/device_shares.h"

namespace headroom::cli {
namespace {

std::size_t width(const std::string& utf8) {
  return static_cast<std::size_t>(std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string percent(double share) {
  return std::isnan(share) ? nothing : text("%.1f %%", 100 * share);
}

std::string time_text(const record::Quartiles& time) {
  if (time.repeats <= 0) return nothing;  // stopped before
  const bool seconds = time.median >= 1000;
  const double unit = seconds ? 1000 : 1;
  const int digits = seconds || time.median < 10 ? 2 : 0;
  const auto value = [&](double ms) { return text("%.*f", digits, ms / unit); };
  std::string shown = value(time.median) + (seconds ? " s" : " ms");
  if (time.repeats > 1) shown += " [" + value(time.q1) + "–" + value(time.q3) + "]";
  return shown;
}

std::string budget_text(const record::MethodSummary& method) {
  if (!method.budget) return nothing;
  std::string shown = to_string(*method.budget);
  if (method.budget->kind == BudgetKind::fraction) shown += " = " + std::to_string(method.budget_tokens);
  if (method.granularity > 1) shown += ", B " + std::to_string(method.granularity);
  return shown;
}

/// "0.0031, 1 of 16 differ": KL and top-1 flips over the positions of dense's answer.
std::string forced_text(const record::MethodSummary& method) {
  if (!method.forced) return nothing;
  return text("%.4f, %lld of %lld differ", method.forced->kl_mean, static_cast<long long>(method.forced->top1_flips),
              static_cast<long long>(method.forced->positions));
}

/// "0.013, 6 of 7 likeliest": of the task's answer inside the sparse pass.
std::string reference_text(const record::MethodSummary& method) {
  if (!method.reference_answer) return method.causal ? nothing : "not causal";
  return text("%.3f, %lld of %lld likeliest", method.reference_answer->nll_mean,
              static_cast<long long>(method.reference_answer->top1_agrees),
              static_cast<long long>(method.reference_answer->tokens));
}

}  // namespace

std::string text(const char* format, ...) {
  char buffer[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return buffer;
}

std::string align_columns(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string table;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - width(row[i]) + 2, ' ');
    }
    table += line + "\n";
  }
  return table;
}

void LoadNote::add(const std::string& name, const std::optional<MachineLoad>& load) {
  if (!load || !load->disturbed()) return;
  names_ += (names_.empty() ? "" : ", ") + name;
  if (load->taken() > worst_.taken()) worst_ = *load;
}

std::string LoadNote::text() const {
  if (names_.empty()) return {};
  return worst_.text() + " while " + names_ + " ran: such times are too long, and ratios between them may be off";
}

std::string run_table(const experiment::RunOutcome& outcome) {
  const auto& meta = outcome.meta;
  std::string shown = printable_text(meta.model_name) + " (" + meta.architecture + "), " +
                      std::to_string(outcome.tokens) + " tokens, " + meta.dtype + ", " + meta.device + "\n";
  if (!outcome.methods.empty() && outcome.methods.front().ttft.repeats <= 0)
    shown += "time to first token: not taken\n\n";
  else if (!outcome.methods.empty())
    shown += "time to first token: median of " + std::to_string(outcome.methods.front().ttft.repeats) +
             (outcome.methods.front().ttft.repeats > 1 ? " [quartiles]" : "") + ", after " +
             std::to_string(meta.warmups) + " warm-up\n\n";
  const bool scored = std::any_of(outcome.methods.begin(), outcome.methods.end(),
                                  [](const auto& method) { return method.task_score.has_value(); });
  std::vector<std::vector<std::string>> rows = {
      {"method", "budget", "density", "TTFT", "mass mean", "mass min", "recall", "KL along dense's answer"}};
  if (scored) rows[0].insert(rows[0].end(), {"score", "NLL of the reference"});
  rows[0].push_back("how");
  for (const auto& method : outcome.methods) {
    const bool dense = !method.budget;
    auto& row = rows.emplace_back();
    row = {method.name,
           budget_text(method),
           percent(method.density),
           time_text(method.ttft),
           dense ? nothing : percent(method.captured_mass_mean),
           dense ? nothing : percent(method.captured_mass_min),
           method.oracle_recall_mean ? percent(*method.oracle_recall_mean) : nothing,
           forced_text(method)};
    if (scored) {
      row.push_back(method.task_score ? text("%.0f%s", *method.task_score, method.answer_cut ? ", cut" : "") : nothing);
      row.push_back(reference_text(method));
    }
    row.push_back(method.plan + (method.label.empty() ? "" : "; " + method.label));
  }
  shown += align_columns(rows);
  if (scored)
    shown +=
        "score: of the answer, decoded dense after the sparse prefill; NLL of the reference: nats a token, read inside "
        "the "
        "sparse pass\n";
  for (const auto& method : outcome.methods)
    if (method.budget && method.budget->kind == BudgetKind::mass && method.granularity > 1)
      shown += method.id + ": " + to_string(*method.budget) + " holds for " + std::to_string(method.granularity) +
               " queries together; one query keeps " + percent(method.captured_mass_mean) +
               " of the mass in the mean\n";
  shown += "\n";
  LoadNote note;
  for (const auto& method : outcome.methods) {
    note.add(method.id, method.load);
    for (const auto& baseline : method.baselines) note.add("dense by " + baseline.backend, baseline.load);
  }
  if (const auto said = note.text(); !said.empty()) shown += said + "\n\n";
  std::string devices;
  for (const auto& method : outcome.methods)
    if (!method.devices.empty())
      devices += method.id + ": " +
                 experiment::device_line(method.stages[static_cast<std::size_t>(Stage::transfer)].median,
                                         method.devices) +
                 "\n";
  if (!devices.empty()) shown += devices + "\n";
  rows.clear();
  for (const auto& method : outcome.methods) rows.push_back({method.id + ":", printable_text(method.answer)});
  shown += "answers\n" + align_columns(rows);
  if (!meta.task_reference.empty()) shown += "reference: " + printable_text(meta.task_reference) + "\n";
  if (!outcome.record_path.empty())
    shown += "\nrecord: " + printable_text(outcome.record_path) + "\n" + meta.kept_note +
             "\nThe record contains the full prompt.\n";
  return shown;
}

std::string import_table(const experiment::RunOutcome& outcome) {
  const auto& meta = outcome.meta;
  std::string shown = printable_text(meta.model_name) + " (" + printable_text(meta.architecture) + "), " +
                      std::to_string(outcome.tokens) + " tokens, " + meta.dtype + "\n";
  for (const auto& warning : meta.warnings) shown += printable_text(warning) + "\n";
  std::vector<std::vector<std::string>> rows = {{"method", "budget", "density", "mass mean", "mass min", "recall"}};
  for (const auto& method : outcome.methods)
    rows.push_back({method.name, budget_text(method), percent(method.density),
                    method.is_dense() ? nothing : percent(method.captured_mass_mean),
                    method.is_dense() ? nothing : percent(method.captured_mass_min),
                    method.oracle_recall_mean ? percent(*method.oracle_recall_mean) : nothing});
  return shown + "\n" + align_columns(rows) + "\nrecord: " + printable_text(outcome.record_path) + "\n" +
         meta.kept_note + "\nThe record contains the full prompt.\n";
}

}  // namespace headroom::cli
