// SPDX-License-Identifier: Apache-2.0
// `headroom bench`: timing only, against named baselines.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "commands.h"
#include "experiment/bench.h"
#include "interrupt.h"
#include "progress_line.h"

namespace headroom::cli {
namespace {

struct BenchOptions {
  experiment::BenchSpec spec;
  std::vector<std::string> budgets = {"512"};
  bool random_init = false, json = false;
};

std::string ratio(const std::optional<double>& value) {
  char text[32] = "-";
  if (value) std::snprintf(text, sizeof text, "%.2fx", *value);
  return text;
}

std::string method_text(const experiment::BenchRow& row) {
  std::string text = row.method;
  if (row.budget) text += " " + to_string(*row.budget);
  if (row.granularity > 1) text += " g" + std::to_string(row.granularity);
  return text;
}

void print_header() {
  std::printf("%7s  %-18s %9s %9s   %-9s %9s %8s %8s %7s %7s %7s %7s %6s  %s\n", "length", "method", "TTFT ms", "q1",
              "q3", "attention", "score", "select", "density", "peak MB", "speed", "bound", "/floor", "backend");
}

void print_row(const experiment::BenchRow& row) {
  if (!row.error.empty()) {
    std::printf("%7lld  %-18s %-10s not run: %s\n", static_cast<long long>(row.length), method_text(row).c_str(),
                row.backend.c_str(), row.error.c_str());
    return;
  }
  const auto stage = [&](Stage s) { return row.stages_ms[static_cast<std::size_t>(s)]; };
  std::printf("%7lld  %-18s %9.1f %9.1f – %-9.1f %9.1f %8.1f %8.1f %6.1f%% %7.0f %7s %7s %6.2f  %s%s%s\n",
              static_cast<long long>(row.length), method_text(row).c_str(), row.ttft.median, row.ttft.q1, row.ttft.q3,
              stage(Stage::attention), stage(Stage::score), stage(Stage::select), 100 * row.density,
              static_cast<double>(row.peak_bytes) / 1e6, ratio(row.speedup_over.fastest_dense).c_str(),
              ratio(row.amdahl_bound).c_str(), row.floor_ms > 0 ? row.ttft.median / row.floor_ms : 0,
              row.backend.c_str(), row.label.empty() ? "" : ": ", row.label.c_str());
}

int run_bench(BenchOptions options) {
  if (options.random_init == options.spec.config.empty())
    throw usage_error("--config and --random-init go together, in place of a model");
  options.spec.budgets.clear();
  for (const std::string& text : options.budgets) options.spec.budgets.push_back(parse_budget(text));
  StopOnInterrupt interrupt;
  ProgressLine progress;
  const JobContext job{.stop = interrupt.token(), .progress = progress.sink()};
  bool first = true;
  const auto report = experiment::bench(options.spec, job, [&](const experiment::BenchRow& row) {
    progress.clear();
    if (options.json) return;
    if (first) print_header();
    first = false;
    print_row(row);
    std::fflush(stdout);
  });
  progress.clear();
  if (!report.device_note.empty()) std::fprintf(stderr, "%s\n", report.device_note.c_str());
  if (options.json) {
    std::printf("%s\n", experiment::to_json(report).dump(2).c_str());
  } else {
    std::printf(
        "%s, %s, %s, weights: %s; median and quartiles of %d passes after %d warm-up. speed: over the fastest dense "
        "row;\n"
        "bound: if its attention were free; floor: LibTorch's own products and attention of these shapes, %s.\n",
        report.config.c_str(), report.device.c_str(), report.dtype.c_str(), report.weights.c_str(), report.repeats,
        report.warmups, "timed in the same run");
  }
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("bench", "Time prefill by method and length; no quality");
  const auto options = std::make_shared<BenchOptions>();
  auto& spec = options->spec;
  command->add_option("model", spec.model, "Model: a path or a fetched model's short name");
  std::string configs;
  for (const auto& name : experiment::bench_configs()) configs += (configs.empty() ? "" : ", ") + name;
  command->add_option("--config", spec.config, "Shapes instead of a model: " + configs);
  command->add_flag("--random-init", options->random_init, "With --config: random weights (no quality)");
  command->add_option("--lengths", spec.lengths, "Prompt lengths in tokens")->delimiter(',')->required();
  command->add_option("--methods", spec.methods, "dense, oracle, indexer, sink_window, random")->delimiter(',');
  command->add_option("--budget", options->budgets, "512, 10%, p0.95")->delimiter(',');
  command->add_option("--granularity", spec.granularities, "1, 4, 8, 16, 32, 64, 128")->delimiter(',');
  command->add_option("--indexer", spec.indexer, "Indexer file");
  command->add_option("--dense-layers", spec.dense_layers, "Layers that run dense")->delimiter(',');
  command->add_option("--device", spec.device, "auto, cpu, cuda or cuda:i")->capture_default_str();
  command->add_option("--dtype", spec.dtype, "auto, bf16 or f32")->capture_default_str();
  command->add_option("--repeats", spec.repeats, "Timed passes of each method")->capture_default_str();
  command->add_flag("--json", options->json, "One JSON object");
  command->callback([options, &chosen] { chosen = [options] { return run_bench(*options); }; });
}

}  // namespace headroom::cli
