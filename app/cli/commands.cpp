// SPDX-License-Identifier: Apache-2.0
#include "commands.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>
#include <sstream>

#include "base/error.h"
#include "base/utf8.h"
#include "base/version.h"
#include "model/device.h"
#include "standard_streams.h"
#include "window.h"

namespace headroom::cli {
namespace {

/// One line, whatever names and bytes a message quotes. Returns the exit code.
int report(std::string_view message, ErrorKind kind) {
  std::fprintf(stderr, "headroom: %s\n", printable_text(message).c_str());
  return static_cast<int>(kind);
}

/// Before the parser, which would list every word that follows an unknown command.
void check_command(const CLI::App& app, int argc, char** argv) {
  if (argc < 2 || argv[1][0] == '-') return;
  const std::string name = argv[1];
  if (!app.get_subcommands([&](const CLI::App* command) { return command->check_name(name); }).empty()) return;
  throw usage_error("there is no command \"" + name + "\": headroom --help lists them");
}

}  // namespace

int run_command_line(int argc, char** argv) {
  CLI::App app("Headroom: how much dense attention is necessary?", "headroom");
  app.set_version_flag("--version", std::string(program_version()), "Print the version and exit");
  app.require_subcommand(0, 1);
  app.footer("Without a command the window opens.");
  Action chosen;
  for (auto* add : {add_info, add_tokenize, add_logits, add_run, add_sweep, add_merge, add_tasks, add_generate,
                    add_import, add_reseal, add_distill, add_bench, add_verify, add_export, add_serve})
    add(app, chosen);
  try {
    check_command(app, argc, argv);
    try {
      app.parse(argc, argv);
    } catch (const CLI::Success& asked) {  // --help, --version
      std::ostringstream text;
      app.exit(asked, text, text);
      write_answer(text.str());
      flush_answer();
      return 0;
    }
    if (!chosen) open_window();
    model::use_allowed_threads();
    const int code = chosen();
    flush_answer();
    return code;
  } catch (const CLI::ParseError& error) {
    return report(error.what(), ErrorKind::usage);
  } catch (const Error& error) {
    return report(error.what(), error.kind());
  } catch (const std::bad_alloc&) {
    return report("out of memory", ErrorKind::device);
  } catch (const std::exception& error) {
    return report(error.what(), ErrorKind::internal);
  }
}

}  // namespace headroom::cli
