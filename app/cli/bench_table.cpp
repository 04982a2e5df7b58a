// SPDX-License-Identifier: Apache-2.0
#include "bench_table.h"

#include <algorithm>

#include "experiment/passes/device_shares.h"
#include "run_table.h"

namespace headroom::cli {
namespace {

using experiment::BenchRow;

std::string time(double ms) {
  return text(ms < 100 ? "%.1f" : "%.0f", ms);
}

std::string ratio(const std::optional<double>& value) {
  return value ? text("%.2f", *value) : nothing;
}

std::string method_text(const BenchRow& row) {
  std::string shown = row.method;
  if (row.budget) shown += " " + to_string(*row.budget);
  if (row.granularity > 1) shown += " B" + std::to_string(row.granularity);
  if (const std::string parameters = record::row_parameters(row); !parameters.empty()) shown += " " + parameters;
  return shown;
}

/// "22/30": layers that ran dense of those with full attention.
std::string dense_layers(const BenchRow& row) {
  const std::int64_t dense = row.timing_plan.count(record::LayerRun::dense);
  return text("%lld/%lld", static_cast<long long>(dense),
              static_cast<long long>(dense + row.timing_plan.count(record::LayerRun::sparse)));
}

/// A rate as a share of that which projections and MLP reach.
std::string share(const std::optional<double>& gflops, const BenchRow& row) {
  if (!gflops || !row.gemm_gflops) return nothing;
  return text("%.0f%%", 100 * *gflops / *row.gemm_gflops);
}
std::string rate(const BenchRow& row) {
  return share(row.attention_gflops, row);
}

std::string tflops(double gflops) {
  return text(gflops < 1e4 ? "%.2f" : "%.0f", gflops / 1000) + " TFLOP/s";
}
/// What each kernel reaches, beside projections and MLP.
std::string rates(const BenchRow& row) {
  if (!row.attention_gflops || !row.gemm_gflops) return {};
  std::string shown = "attention " + tflops(*row.attention_gflops);
  if (row.union_gflops)
    shown += ", on unions of 16 rows " + tflops(*row.union_gflops) + " (" + share(row.union_gflops, row) + ")";
  if (row.score_gflops)
    shown += "; score and select " + tflops(*row.score_gflops) + " (" + share(row.score_gflops, row) + ")";
  return shown + "; projections and MLP " + tflops(*row.gemm_gflops) + "; peak memory " +
         text("%.1f GB", static_cast<double>(row.peak_bytes) / 1e9);
}

std::string product(const BenchRow& row) {
  if (!row.kernel_factor || !row.sparsity_factor) return nothing;
  return text("%.2f=%.2fx%.2f", *row.kernel_factor * *row.sparsity_factor, *row.kernel_factor, *row.sparsity_factor);
}

/// llama.cpp's rows are too wide for the column: their backend stands in short.
std::string backend(const BenchRow& row) {
  if (!row.staged) return row.backend.find(" on") != std::string::npos ? "llama.cpp, FA" : "llama.cpp";
  return row.role == MethodRole::dense ? ", " + row.backend : "";
}

std::vector<std::string> cells(const BenchRow& row, bool llama_cpp) {
  const auto stage = [&](Stage s) { return row.stages_ms[static_cast<std::size_t>(s)]; };
  std::vector<std::string> line = {row.staged ? method_text(row) + backend(row) : backend(row)};
  if (!row.error.empty()) {
    line.push_back(nothing);
    return line;
  }
  line.push_back(time(row.ttft.median) +
                 (row.ttft.repeats > 1 ? " [" + time(row.ttft.q1) + "–" + time(row.ttft.q3) + "]" : std::string()));
  if (!row.staged) return line;
  const bool dense = row.role == MethodRole::dense;
  line.insert(line.end(), {time(stage(Stage::attention)), dense ? nothing : time(stage(Stage::score)),
                           dense ? nothing : time(stage(Stage::select)), rate(row),
                           dense ? nothing : text("%.0f%%", 100 * row.density), dense_layers(row),
                           ratio(row.speedup_over.fastest_dense), product(row)});
  if (llama_cpp) line.push_back(ratio(row.speedup_over.llama_cpp));
  return line;
}

/// Lines of at most `width` characters, cut at spaces; those after the first are set in.
std::string wrap(const std::string& line, std::size_t width) {
  std::string shown;
  std::size_t begin = 0, indent = 2;
  while (line.size() - begin > width - indent) {
    std::size_t end = line.rfind(' ', begin + width - indent);
    if (end == std::string::npos || end <= begin) break;
    shown += std::string(indent, ' ') + line.substr(begin, end - begin) + "\n";
    begin = end + 1;
    indent = 6;
  }
  return shown + std::string(indent, ' ') + line.substr(begin) + "\n";
}

/// What does not fit into columns, a line each, no line twice.
std::vector<std::string> notes(const std::vector<BenchRow>& rows) {
  std::vector<std::string> lines;
  std::int64_t largest = 0;
  LoadNote load;
  const auto add = [&](const std::string& line) {
    if (std::find(lines.begin(), lines.end(), line) == lines.end()) lines.push_back(line);
  };
  for (const BenchRow& row : rows) {
    if (!row.error.empty()) {
      add(method_text(row) + ", " + row.backend + ": not run: " + row.error.substr(0, 300));
      continue;
    }
    load.add(method_text(row) + backend(row), row.load);
    if (!row.note.empty()) add((row.staged ? "" : "llama.cpp: ") + row.note);
    if (row.peak_bytes_above_weights > largest) largest = row.peak_bytes_above_weights;
    if (!row.devices.empty())
      add(method_text(row) + backend(row) + ": " +
          experiment::device_line(row.stages_ms[static_cast<std::size_t>(Stage::transfer)], row.devices));
    if (const std::string line = rates(row); !line.empty())
      add(method_text(row) + backend(row) + ": " + line);
    if (row.role == MethodRole::dense) continue;
    std::vector<std::string> parts;
    if (row.supports == "measured")
      parts.push_back("drawn supports, with the overlap of a trained model's: no quality");
    if (row.bound_reached)
      parts.push_back(text("%.0f%% of the speedup if attention were free", 100 * *row.bound_reached));
    if (!row.label.empty()) parts.push_back(row.label + ": no speedup");
    if (row.role == MethodRole::reference && row.time_over_libtorch)
      parts.push_back(text("a reference, takes %.2f of LibTorch's dense time", *row.time_over_libtorch));
    if (row.timing_plan.source != "defined") parts.push_back(row.plan);
    if (row.timing_plan.dense_throughout()) parts.push_back("nothing sparse ran: no speedup");
    if (row.as_defined_ms && row.timing_plan.source != "defined")
      parts.push_back("as defined " + time(*row.as_defined_ms) + " ms in the warm-up");
    if (row.union_factor) parts.push_back(text("unions of 16 rows %.2f times a row's keys", *row.union_factor));
    std::string line;
    for (const std::string& part : parts) line += (line.empty() ? method_text(row) + ": " : "; ") + part;
    if (!line.empty()) add(line);
  }
  if (const auto said = load.text(); !said.empty()) add(said);
  if (largest > 0) add(text("peak memory above the weights: %.0f MB", static_cast<double>(largest) / 1e6));
  return lines;
}

}  // namespace

std::string bench_table(const std::vector<BenchRow>& rows) {
  std::string shown = text("%lld tokens", static_cast<long long>(rows.front().length));
  if (rows.front().floor_ms > 0) {
    shown += text("; floor %s ms", time(rows.front().floor_ms).c_str());
    std::string over;
    for (const BenchRow& row : rows)
      if (row.role == MethodRole::dense && row.staged && row.error.empty())
        over += (over.empty() ? ", over it " : ", ") + row.backend + text(" %.2f", row.ttft.median / row.floor_ms);
    shown += over;
  }
  if (rows.front().amdahl_bound) shown += text("; without attention at most %.2fx faster", *rows.front().amdahl_bound);
  std::vector<std::vector<std::string>> table = {
      {"method", "TTFT ms", "attn", "score", "select", "rate", "kept", "dense", "speedup", "over LibTorch"}};
  const bool llama_cpp = std::any_of(rows.begin(), rows.end(), [](const BenchRow& row) { return !row.staged; });
  if (llama_cpp) table.back().push_back("/llama");
  for (const BenchRow& row : rows) table.push_back(cells(row, llama_cpp));
  shown += "\n" + align_columns(table);
  for (const std::string& line : notes(rows)) shown += wrap(line, 120);
  return shown + "\n";
}

std::string bench_footer(const experiment::BenchReport& report) {
  std::string shown = report.config + ", " + report.device + ", " + std::to_string(report.threads) +
                      (report.threads == 1 ? " thread, " : " threads, ") + report.dtype +
                      "\nweights: " + report.weights + "\n";
  shown +=
      text("times: ms, median [quartiles] of %d passes after %d warm-up; rate: attention's multiply-adds a second as",
           report.repeats, report.warmups);
  shown +=
      "\na share of what projections and MLP reach; kept: pairs attended to; dense: layers that ran dense because "
      "sparse\n"
      "takes longer; floor: LibTorch's own products and attention of these shapes, in the same run; speedup: over the\n"
      "fastest dense; over LibTorch: kernel (LibTorch's dense / the fastest dense) x sparsity (the fastest dense / "
      "this)\n";
  shown += report.supports == "measured"
               ? "supports: drawn with the overlap of a trained model's (2.46 k keys for 16 rows, 2.99 k for 32): no "
                 "quality\n"
               : "supports: each method's own" +
                     std::string(report.weights.starts_with("random") ? ", of random weights: no quality\n" : "\n");
  if (!report.llama_cpp.empty())
    shown += "/llama: over the better of flash attention (FA) on and off in llama.cpp; llama-cpp-python " +
             report.llama_cpp + "\n";
  return shown;
}

}  // namespace headroom::cli
