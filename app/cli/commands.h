// SPDX-License-Identifier: Apache-2.0
// The commands of `headroom`. Each lives in a file of its own, adds its options to the parser and returns an exit code.
#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace headroom::cli {

/// What a parsed command runs; returns the exit code, throws headroom::Error.
using Action = std::function<int()>;

// Each adds a subcommand; where it is chosen, `chosen` is set to its action.
void add_info(CLI::App& app, Action& chosen);
void add_tokenize(CLI::App& app, Action& chosen);
void add_logits(CLI::App& app, Action& chosen);
void add_run(CLI::App& app, Action& chosen);
void add_sweep(CLI::App& app, Action& chosen);
void add_merge(CLI::App& app, Action& chosen);
void add_tasks(CLI::App& app, Action& chosen);
void add_generate(CLI::App& app, Action& chosen);
void add_distill(CLI::App& app, Action& chosen);
void add_bench(CLI::App& app, Action& chosen);
void add_verify(CLI::App& app, Action& chosen);
void add_export(CLI::App& app, Action& chosen);
void add_serve(CLI::App& app, Action& chosen);
void add_import(CLI::App& app, Action& chosen);
void add_reseal(CLI::App& app, Action& chosen);

/// Parses, runs, prints errors to standard error; never throws.
int run_command_line(int argc, char** argv);

}  // namespace headroom::cli
