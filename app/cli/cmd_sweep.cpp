// SPDX-License-Identifier: Apache-2.0
// headroom sweep: budget against quality over many samples.
#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_fields.h"
#include "base/utf8.h"
#include "commands.h"
#include "experiment/sweep/sweep.h"
#include "interrupt.h"
#include "layer_budget_options.h"
#include "options.h"
#include "standard_streams.h"
#include "sweep_text.h"
#include "task_options.h"

namespace headroom::cli {
namespace {

struct SweepOptions {
  experiment::SweepSpec spec;
  std::vector<std::string> budgets, template_arguments;
  std::string adapter, prompts, haystack, system, indexer, shard, layer_budgets, layer_list = "layers";
  double margin = 1;
  bool json = false;
};

void read_shard(const std::string& text, experiment::SweepSpec& spec) {
  const std::size_t slash = text.find('/');
  const auto whole = [&](std::string_view digits) {
    int value = 0;
    const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (slash == std::string::npos || failed != std::errc() || end != digits.data() + digits.size() || value < 1)
      refuse_option("--shard", "i/n with i from 1 to n, e.g. 1/4", text);
    return value;
  };
  spec.shard = whole(std::string_view(text).substr(0, slash));
  spec.shards = whole(slash == std::string::npos ? std::string_view() : std::string_view(text).substr(slash + 1));
}

experiment::SweepSpec make_sweep_spec(const CLI::App& command, const SweepOptions& options) {
  auto spec = options.spec;
  const auto given = [&](const char* name, const std::string& value, std::optional<std::string>& field) {
    if (command.count(name) > 0) field = value;
  };
  given("--adapter", options.adapter, spec.adapter);
  given("--prompts", options.prompts, spec.prompts);
  given("--haystack", options.haystack, spec.haystack);
  given("--system", options.system, spec.system_file);
  given("--indexer", options.indexer, spec.indexer);
  if (!options.budgets.empty()) {
    spec.budgets.clear();
    for (const auto& budget : options.budgets) spec.budgets.push_back(parse_budget(budget));
  }
  read_layer_budgets(command, options.layer_budgets, options.layer_list, !options.budgets.empty(), spec);
  for (const std::string& argument : options.template_arguments) {
    const std::size_t equals = argument.find('=');
    if (equals == 0 || equals == std::string::npos) refuse_option("--template-arg", "KEY=VALUE", argument);
    std::string value = argument.substr(equals + 1);
    try {  // JSON is taken as such; anything else is a text
      parse_json(value, "--template-arg");
    } catch (const Error&) {
      value = dump_json(value);
    }
    if (!spec.template_arguments.emplace(argument.substr(0, equals), std::move(value)).second)
      refuse_option("--template-arg", "each key once", argument);
  }
  if (!options.shard.empty()) read_shard(options.shard, spec);
  // What is counted for tasks alone would change nothing for own prompts.
  for (const char* name : {"--samples", "--seed", "--calibrate"})
    if (spec.prompts && command.count(name) > 0)
      refuse_option(name, "tasks: of own prompts each is one sample", "--prompts");
  return spec;
}

void print_outcome(const experiment::SweepOutcome& outcome, const experiment::SweepPreflight& preflight, double margin,
                   bool json) {
  const auto& meta = outcome.record.meta;
  const record::SweepSummary summary = record::summarise(outcome.record, margin);
  if (!json) {
    write_answer(sweep_text(outcome.record, summary));
    print_answer("\nsweep: %s%s\nstore: %s\n", printable_text(outcome.record_path).c_str(),
                 meta.complete ? "" : ", incomplete", printable_text(outcome.store_path).c_str());
    print_answer("%lld rows in %s, %.0f %% of it in prefills (one after the other: no times to compare methods by)\n",
                 static_cast<long long>(outcome.rows_made), duration_text(outcome.seconds).c_str(),
                 outcome.seconds > 0 ? 100 * outcome.prefill_seconds / outcome.seconds : 0.0);
  } else {
    nlohmann::json object = record::to_json(meta, summary);
    object["record"] = outcome.record_path;
    object["store"] = outcome.store_path;
    object["complete"] = meta.complete;
    object["model"] = meta.model_name;
    object["model_sha256"] = meta.model_sha256;
    object["architecture"] = meta.architecture;
    object["devices"] = meta.devices;
    object["dtype"] = meta.dtype;
    object["shard"] = {meta.shard, meta.shards};
    object["rows"] = outcome.record.rows.size();
    object["rows_expected"] = preflight.rows;
    object["rows_made"] = outcome.rows_made;
    object["seconds"] = outcome.seconds;
    object["prefill_seconds_not_interleaved"] = outcome.prefill_seconds;
    object["memory_needed"] = preflight.memory_needed;
    object["peak_bytes"] = outcome.peak_bytes;
    object["preflight"] = preflight.notes;
    write_answer(dump_json(object) + "\n");
  }
  flush_answer();
}

int run_sweep(const experiment::SweepSpec& spec, double margin, bool json) {
  if (!(margin > 0 && margin <= 100))
    refuse_option("--margin", "points above 0, at most 100", nlohmann::json(margin).dump());
  SweepLine line(spec.shard, spec.shards);
  const auto say = [&](const std::string& text) {
    line.clear();
    std::fprintf(stderr, "headroom: %s\n", printable_text(text).c_str());
  };
  auto prepared = experiment::prepare_sweep(spec);
  if (!prepared.device.note.empty()) say(prepared.device.note);
  const auto preflight = experiment::sweep_preflight(prepared);
  for (const std::string& warning : prepared.warnings) say(warning);
  for (const std::string& note : preflight.notes) say(note);
  if (preflight.rows_found > 0)
    say("goes on with " + std::to_string(preflight.rows_found) + " of " + std::to_string(preflight.rows) + " rows");
  const StopOnInterrupt interrupt;  // so far there was nothing to keep
  const JobContext job{interrupt.token(), {}};
  experiment::SweepCallbacks callbacks;
  callbacks.progress = [&](const experiment::SweepProgress& progress) { line.show(progress); };
  callbacks.notice = say;
  std::string kept;
  callbacks.record_written = [&](const record::SweepRecord&, const std::string& path) { kept = path; };
  try {
    const auto outcome = experiment::sweep(prepared, job, callbacks);
    line.clear();
    print_outcome(outcome, preflight, margin, json);
    return 0;
  } catch (const Error&) {
    line.clear();
    if (!kept.empty()) say("what was finished is kept in " + kept + ", marked incomplete; --resume goes on");
    throw;
  }
}

}  // namespace

void add_sweep(CLI::App& app, Action& chosen) {
  const auto options = std::make_shared<SweepOptions>();
  auto& spec = options->spec;
  auto* command =
      app.add_subcommand("sweep", "Score many samples under dense and sparse attention: budget against quality");
  command->add_option("model", spec.model, "Path of a model, or a fetched one's short name")->required();
  command->add_option("--adapter", options->adapter, adapter_help);
  command->add_option("--tasks", spec.tasks, "Generated tasks: " + task_list())->delimiter(',');
  command->add_option("--haystack", options->haystack, "A text or a folder of texts in place of the tasks' essays");
  command->add_option("--lengths", spec.lengths, "Tokens of prompt and answer, with --tasks")->delimiter(',');
  command->add_option(
      "--prompts", options->prompts,
      "In place of tasks: F.jsonl with {\"messages\" | \"input\", \"outputs\"?} a line, or a folder of texts");
  command->add_option("--budgets,--budget", options->budgets, "Keys a query: 512, 10% or p0.95; a list runs each")
      ->delimiter(',');
  command->add_option("--methods", spec.methods, experiment::method_names() + "; parameters as sink_window:sinks=8")
      ->delimiter(',');
  add_layer_budget_options(*command, options->layer_budgets, options->layer_list);
  command->add_option("--granularity", spec.granularities, "Neighbouring queries that share a support")->delimiter(',');
  command->add_option("--sinks", spec.sinks, "First positions that are always in the support");
  command->add_option("--local", spec.local, "Last positions that are always in the support");
  command->add_option("--samples", spec.samples, "Of each task and length")->capture_default_str();
  command->add_option("--seed", spec.seed, "Of the first sample; the others follow it")->capture_default_str();
  command
      ->add_option("--calibrate", spec.calibration,
                   "Dense samples of each task and length, never scored, that choose the tasks of macro means")
      ->capture_default_str();
  command
      ->add_option("--prompt-tail", spec.prompt_tail,
                   "Also NLL and KL of so many tokens at the prompt's end, for methods that are causal")
      ->capture_default_str();
  command->add_option("--max-new-tokens", spec.max_new_tokens,
                      "Length of the answers (default: the task's own; 64 for own prompts)");
  command->add_option("--system", options->system, "File with the system message");
  command->add_option("--template-arg", options->template_arguments, "key=value for the chat template")
      ->allow_extra_args(false);
  command->add_option("--indexer", options->indexer, "Indexer to use (safetensors)");
  command->add_option("--dense-layers", spec.dense_layers, "Layers that stay dense")->delimiter(',');
  command->add_option("--device", spec.device, device_help)->capture_default_str();
  command->add_option("--dtype", spec.dtype, "auto, bf16 or f32")->capture_default_str();
  command->add_option("--shard", options->shard, "i/n: the samples of the i-th of n parts; headroom merge joins them");
  command->add_flag("--resume", spec.resume, "Go on with the store beside --out where there is one");
  command->add_option("--margin", options->margin, "Points below dense that are still enough")->capture_default_str();
  command->add_option("--out", spec.out, "The sweep's file (S.h5); its rows are kept as they finish in S.h5.rows.jsonl")
      ->required();
  command->add_flag("--json", options->json, "One JSON object on standard output");
  command->callback([command, options, &chosen] {
    chosen = [command, options] {
      return run_sweep(make_sweep_spec(*command, *options), options->margin, options->json);
    };
  });
}

}  // namespace headroom::cli
