// SPDX-License-Identifier: Apache-2.0
// headroom import: attention streams that another program took from its own model become a record.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"
#include "commands.h"
#include "experiment/streams/import.h"
#include "interrupt.h"
#include "options.h"
#include "progress_line.h"
#include "protocol/json_fields.h"
#include "protocol/summary_json.h"
#include "run_table.h"
#include "standard_streams.h"

namespace headroom::cli {
namespace {

struct ImportOptions {
  experiment::ImportSpec spec;
  std::vector<std::string> budgets = {"512"};
  std::string keep_queries = "all", record_limit;
  bool json = false;
};

int run_import(ImportOptions options) {
  auto& spec = options.spec;
  for (const auto& budget : options.budgets) spec.methods.budgets.push_back(parse_budget(budget));
  spec.keep_queries = parse_keep_queries(options.keep_queries);
  if (!options.record_limit.empty()) spec.record_limit = parse_bytes(options.record_limit);
  const StopOnInterrupt interrupt;
  ProgressLine line;
  experiment::RunCallbacks callbacks;
  std::string kept;
  callbacks.notice = [&](const std::string& text) {
    line.clear();
    std::fprintf(stderr, "headroom: %s\n", printable_text(text).c_str());
  };
  callbacks.record_written = [&](const record::RunMeta&, const std::string& path) { kept = path; };
  try {
    const auto outcome = experiment::import_streams(spec, {interrupt.token(), line.sink()}, callbacks);
    line.clear();
    if (options.json) {
      write_answer(protocol::dump_json(protocol::run_result_json(outcome.meta, outcome.tokens, outcome.methods,
                                                                 outcome.record_path)) +
                   "\n");
    } else {
      write_answer(import_table(outcome));
    }
    return 0;
  } catch (const Error&) {
    line.clear();
    if (!kept.empty())
      std::fprintf(stderr, "headroom: what was finished is kept in %s, marked incomplete\n",
                   printable_text(kept).c_str());
    throw;
  }
}

}  // namespace

void add_import(CLI::App& app, Action& chosen) {
  const auto options = std::make_shared<ImportOptions>();
  auto& spec = options->spec;
  auto* command =
      app.add_subcommand("import", "Make a record of attention streams that another program took (docs/import.md)");
  command->add_option("streams", spec.streams, "safetensors file: q, k (v) of full layers, tokens, scale")->required();
  command->add_option("--out", spec.out, "The record to write (RUN.h5)")->required();
  command->add_option("--methods", spec.methods.names,
                      "Of those that need q and k alone, and selected: the keys that the model itself chose, where the "
                      "file says them; default: dense, oracle and selected")
      ->delimiter(',');
  command->add_option("--budget", options->budgets, "Keys a query: 512, 10% or p0.95; a list runs each")
      ->delimiter(',')
      ->capture_default_str();
  command->add_option("--granularity", spec.methods.granularities, "Neighbouring queries that share a support")
      ->delimiter(',');
  command->add_option("--sinks", spec.methods.sinks, "First positions that are always in the support");
  command->add_option("--local", spec.methods.local, "Last positions that are always in the support");
  command->add_option("--seed", spec.methods.seed, "Of random methods");
  command->add_option("--keep-layers", spec.keep_layers, "Layers whose exact maps the record keeps")->delimiter(',');
  command->add_option("--keep-queries", options->keep_queries, "Rows that exact maps keep: all or last:N")
      ->capture_default_str();
  command->add_option("--record-limit", options->record_limit, "Size of the record, e.g. 256MB");
  command->add_option("--device", spec.device, "auto, cpu or cuda[:i]")->capture_default_str();
  command->add_flag("--json", options->json, "One JSON object");
  command->callback([options, &chosen] { chosen = [options] { return run_import(*options); }; });
}

}  // namespace headroom::cli
