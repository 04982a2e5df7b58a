// SPDX-License-Identifier: Apache-2.0
// headroom run: the main job from the command line.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"
#include "commands.h"
#include "experiment/run/methods.h"
#include "experiment/run/preflight.h"
#include "experiment/run/random_model.h"
#include "experiment/run/run.h"
#include "interrupt.h"
#include "layer_budget_options.h"
#include "options.h"
#include "progress_line.h"
#include "protocol/json_fields.h"
#include "protocol/summary_json.h"
#include "run_table.h"
#include "standard_streams.h"
#include "task_options.h"

namespace headroom::cli {
namespace {

/// What CLI11 fills; the RunSpec is made from it.
struct RunOptions {
  protocol::RunSpec spec;
  std::vector<std::string> budgets, template_arguments;
  std::string adapter, prompt, prompt_file, task, prompts, haystack, system, indexer, plan, out, keep_queries;
  std::string record_limit, layer_budgets, layer_list = "layers";
  std::string config;
  bool random_init = false, json = false;
};

protocol::RunSpec make_spec(const CLI::App& command, const RunOptions& options) {
  auto spec = options.spec;
  check_random_options(options.config, options.random_init);
  if (options.config.empty() == spec.model.empty())
    throw usage_error("run needs either a model or --config NAME --random-init");
  if (options.random_init) spec.model = std::string(experiment::random_model_prefix) + options.config;
  const auto given = [&](const char* name, const std::string& value, std::optional<std::string>& field) {
    if (command.count(name) > 0) field = value;
  };
  given("--adapter", options.adapter, spec.adapter);
  given("--prompt", options.prompt, spec.prompt);
  given("--prompt-file", options.prompt_file, spec.prompt_file);
  given("--task", options.task, spec.task);
  given("--prompts", options.prompts, spec.prompts);
  given("--haystack", options.haystack, spec.haystack);
  given("--system", options.system, spec.system_file);
  given("--indexer", options.indexer, spec.indexer);
  given("--plan", options.plan, spec.plan);
  given("--out", options.out, spec.out);
  if (!options.budgets.empty()) {
    spec.budgets.clear();
    for (const auto& budget : options.budgets) spec.budgets.push_back(parse_budget(budget));
  }
  read_layer_budgets(command, options.layer_budgets, options.layer_list, !options.budgets.empty(), spec);
  for (const std::string& argument : options.template_arguments) {
    const std::size_t equals = argument.find('=');
    if (equals == 0 || equals == std::string::npos) refuse_option("--template-arg", "KEY=VALUE", argument);
    // JSON is taken as such (true, 3, "x", [1]); anything else is a text.
    std::string value = argument.substr(equals + 1);
    try {
      protocol::parse_json(value, "--template-arg");
    } catch (const Error&) {
      value = protocol::dump_json(value);
    }
    if (!spec.template_arguments.emplace(argument.substr(0, equals), std::move(value)).second)
      refuse_option("--template-arg", "each key once", argument);
  }
  if (!options.keep_queries.empty()) spec.keep_queries = parse_keep_queries(options.keep_queries);
  if (!options.record_limit.empty()) spec.record_limit = parse_bytes(options.record_limit);
  return spec;
}

void print(const experiment::RunOutcome& outcome, const protocol::Preflight& preflight, bool json) {
  if (json) {
    auto result = protocol::run_result_json(outcome.meta, outcome.tokens, outcome.methods, outcome.record_path);
    result["memory_needed"] = preflight.memory_needed;
    write_answer(protocol::dump_json(result) + "\n");
  } else {
    write_answer(run_table(outcome));
  }
  flush_answer();
}

int run_command(const protocol::RunSpec& spec, bool json) {
  const auto prepared = experiment::prepare_run(spec);
  if (!prepared.device.note.empty()) std::fprintf(stderr, "headroom: %s\n", prepared.device.note.c_str());
  const auto preflight = experiment::preflight(prepared);
  experiment::refuse_what_cannot_fit(prepared, preflight);
  for (const auto& warning : preflight.warnings)
    std::fprintf(stderr, "headroom: %s\n", printable_text(warning).c_str());

  const StopOnInterrupt interrupt;  // so far there was nothing to keep
  ProgressLine line;
  const JobContext job{interrupt.token(), line.sink()};
  std::string kept;
  experiment::RunOutcome finished;  // what there is to say if the record cannot be written
  experiment::RunCallbacks callbacks;
  callbacks.prepared = [&](const record::RunMeta& meta, std::int64_t tokens) {
    finished.meta = meta;
    finished.meta.complete = false;
    finished.tokens = tokens;
  };
  callbacks.method_finished = [&](const record::MethodSummary& method) {
    auto& known = finished.methods;
    const auto at = std::find_if(known.begin(), known.end(), [&](const auto& other) { return other.id == method.id; });
    at == known.end() ? known.push_back(method) : void(*at = method);
  };
  callbacks.answer_grows = [&](const std::string&, const std::string& text) { line.set_answer(text); };
  callbacks.notice = [&](const std::string& text) {
    line.clear();
    std::fprintf(stderr, "headroom: %s\n", printable_text(text).c_str());
  };
  callbacks.record_written = [&](const record::RunMeta&, const std::string& path) { kept = path; };
  try {
    const auto outcome = experiment::run(prepared, job, callbacks);
    line.clear();
    print(outcome, preflight, json);
    return 0;
  } catch (const Error& error) {
    line.clear();
    if (kept.empty() && !finished.methods.empty() && error.kind() != ErrorKind::cancelled) {
      try {
        print(finished, preflight, json);
      } catch (const Error& also) {  // the exit code is that of what came first
        std::fprintf(stderr, "headroom: %s\n", printable_text(also.what()).c_str());
      }
    }
    if (!kept.empty())
      std::fprintf(stderr, "headroom: what was finished is kept in %s, marked incomplete\n",
                   printable_text(kept).c_str());
    throw;
  }
}

}  // namespace

void add_run(CLI::App& app, Action& chosen) {
  const auto options = std::make_shared<RunOptions>();
  auto& spec = options->spec;
  auto* command =
      app.add_subcommand("run", "Prefill one prompt with dense and sparse attention, and record what happened");
  command->add_option("model", spec.model, "path of a model, or a fetched one's short name");
  command->add_option("--config", options->config, config_help());
  command->add_flag("--random-init", options->random_init,
                    "with --config: random weights, a token a byte of the prompt (no quality)");
  command->add_option("--adapter", options->adapter, adapter_help);
  auto* source = command->add_option_group("prompt", "exactly one of these");
  source->add_option("--prompt", options->prompt, "the prompt itself");
  source->add_option("--prompt-file", options->prompt_file, "a UTF-8 text file, or a pipe");
  source->add_option("--task", options->task, "a generated task: " + task_list());
  source->add_option("--prompts", options->prompts,
                     "JSONL with {\"messages\" | \"input\", \"outputs\"?} a line (RULER's layout is one), or a folder "
                     "of text files; --index chooses");
  command->add_option("--length", spec.length, "tokens of the prompt and its answer, with --task");
  command->add_option("--haystack", options->haystack,
                      "with --task: a text file, or a folder of them, in place of our essays");
  command->add_option("--index", spec.index, "with --prompts: the index of the prompt to run; default 0");
  command->add_option("--seed", spec.seed, "of the task and of random methods");
  command->add_flag("--chat", spec.chat, "render the prompt with the model's chat template");
  command->add_option("--system", options->system, "file with the system message");
  command
      ->add_option("--template-arg", options->template_arguments,
                   "key=value for the chat template, the value as JSON or text; one that it does not use is refused")
      ->allow_extra_args(false);
  command->add_option("--answer-prefix", spec.answer_prefix, "text that the answer begins with");
  command->add_option("--methods", spec.methods, experiment::method_names() + "; parameters as sink_window:sinks=8")
      ->delimiter(',');
  command->add_option("--budget", options->budgets, "keys a query: 512, 10% or p0.95; a list runs each")
      ->delimiter(',');
  add_layer_budget_options(*command, options->layer_budgets, options->layer_list);
  command->add_option("--granularity", spec.granularities, "neighbouring queries that share a support")->delimiter(',');
  command->add_option("--sinks", spec.sinks, "first positions that are always in the support");
  command->add_option("--local", spec.local, "last positions that are always in the support");
  command->add_option("--indexer", options->indexer, "indexer to use (safetensors)");
  command->add_option("--dense-layers", spec.dense_layers, "layers that stay dense")->delimiter(',');
  command->add_option("--device", spec.device, device_help);
  command->add_option("--dtype", spec.dtype, "auto, bf16 or f32");
  command->add_option("--repeats", spec.repeats, "timed passes a method");
  command->add_option("--max-new-tokens", spec.max_new_tokens,
                      "length of the answers (default: the task's own; 16 without a task)");
  command->add_option("--keep-layers", spec.keep_layers, "layers whose exact maps the record keeps")->delimiter(',');
  command->add_option("--keep-queries", options->keep_queries, "rows that exact maps keep: all or last:N");
  command->add_option("--record-limit", options->record_limit, "size of the record, e.g. 256MB");
  command->add_option(
      "--plan", options->plan,
      "which layers run dense in timed passes: a file of `headroom export --view plan`, or none (all as "
      "recorded); default: what this machine does faster. Recorded passes never use it");
  command
      ->add_option("--baselines", spec.baselines,
                   "libtorch, fa2, cudnn (GPUs, bf16) or all: time dense through these libraries' attention, too")
      ->delimiter(',');
  command->add_option("--out", options->out, "record to write (RUN.h5)");
  command->add_flag("--json", options->json, "one JSON object on standard output");
  command->callback([command, options, &chosen] {
    chosen = [command, options] { return run_command(make_spec(*command, *options), options->json); };
  });
}

}  // namespace headroom::cli
