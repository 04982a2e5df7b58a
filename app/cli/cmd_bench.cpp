// SPDX-License-Identifier: Apache-2.0
// `headroom bench`: timing only, against named baselines.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"
#include "bench_table.h"
#include "commands.h"
#include "experiment/bench/bench.h"
#include "experiment/run/methods.h"
#include "interrupt.h"
#include "options.h"
#include "progress_line.h"
#include "standard_streams.h"

namespace headroom::cli {
namespace {

struct BenchOptions {
  experiment::BenchSpec spec;
  std::vector<std::string> budgets = {"512"};
  bool random_init = false, json = false;
};

int run_bench(BenchOptions options) {
  check_random_options(options.spec.config, options.random_init);
  options.spec.budgets.clear();
  for (const std::string& text : options.budgets) options.spec.budgets.push_back(parse_budget(text));
  StopOnInterrupt interrupt;
  ProgressLine progress;
  const JobContext job{.stop = interrupt.token(), .progress = progress.sink()};
  std::size_t printed = 0;
  experiment::BenchReport report;
  // A table a length as it is done; JSON is one object, so it comes last.
  const auto print = [&] {
    progress.clear();
    if (!options.json && printed < report.rows.size())
      write_answer(bench_table({report.rows.begin() + static_cast<std::ptrdiff_t>(printed), report.rows.end()}));
    printed = report.rows.size();
    flush_answer();
  };
  const auto finish = [&] {
    if (options.json)
      write_answer(record::to_json(report).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    else
      write_answer(escape_invalid_utf8(bench_footer(report)));
    flush_answer();
  };
  experiment::BenchCallbacks callbacks;
  callbacks.on_length = [&](const experiment::BenchReport& so_far) {
    report = so_far;
    print();
  };
  callbacks.notice = [&](const std::string& text) {
    progress.clear();
    std::fprintf(stderr, "headroom: %s\n", printable_text(text).c_str());
  };
  try {
    report = experiment::bench(options.spec, job, callbacks);
  } catch (const Error&) {
    progress.clear();
    if (!report.rows.empty()) finish();  // what was finished, marked as not complete
    throw;
  }
  print();
  if (!report.device_note.empty()) std::fprintf(stderr, "%s\n", report.device_note.c_str());
  finish();
  return 0;
}

}  // namespace

void add_bench(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("bench", "Time prefill by method and length; no quality");
  const auto options = std::make_shared<BenchOptions>();
  auto& spec = options->spec;
  command->add_option("model", spec.model, "Model: a path or a fetched model's short name");
  command->add_option("--adapter", spec.adapter, adapter_help);
  command->add_option("--config", spec.config, config_help());
  command->add_flag("--random-init", options->random_init, "With --config: random weights (no quality)");
  command->add_option("--lengths", spec.lengths, "Prompt lengths in tokens; past the model's context: timing only")
      ->delimiter(',')
      ->required();
  command->add_option("--methods", spec.methods, experiment::method_names() + "; parameters as sink_window:sinks=8")
      ->delimiter(',');
  command->add_option("--budget", options->budgets, "512, 10%, p0.95")->delimiter(',');
  command->add_option("--granularity", spec.granularities, "1, 4, 8, 16, 32, 64, 128")->delimiter(',');
  command->add_option("--indexer", spec.indexer, "Indexer file");
  command->add_option("--dense-layers", spec.dense_layers, "Layers that run dense")->delimiter(',');
  command->add_option("--plan", spec.plan,
                      "Which other layers run dense: a file of `headroom export --view plan`, or none; default: where "
                      "the warm-up pass shows that sparse takes longer. The oracle runs as defined");
  command->add_option("--supports", spec.supports,
                      "own: what each method selects; measured: drawn with the overlap of a trained model's supports "
                      "(random weights have another), selection timed as it is; no quality")
      ->capture_default_str();
  command->add_option("--threads", spec.threads, "Threads; default: one a core");
  command->add_option("--llama-cpp", spec.llama_cpp,
                      "A Python with llama-cpp-python: the same ids in llama.cpp, up to the model's context");
  command->add_option("--llama-cpp-repeats", spec.llama_cpp_repeats, "Timed passes of llama.cpp")
      ->capture_default_str();
  command->add_option("--device", spec.device, device_help)->capture_default_str();
  command->add_option("--dtype", spec.dtype, "auto, bf16 or f32")->capture_default_str();
  command->add_option("--repeats", spec.repeats, "Timed passes of each method")->capture_default_str();
  command->add_flag("--json", options->json, "One JSON object");
  command->callback([options, &chosen] { chosen = [options] { return run_bench(*options); }; });
}

}  // namespace headroom::cli
