// SPDX-License-Identifier: Apache-2.0
#include "commands.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>

#include "base/error.h"

namespace headroom::cli {

int run_command_line(int argc, char** argv) {
  CLI::App app("Headroom: how much dense attention is necessary?", "headroom");
  app.require_subcommand(0, 1);
  Action chosen;
  for (auto* add :
       {add_info, add_tokenize, add_logits, add_run, add_distill, add_bench, add_verify, add_export, add_serve})
    add(app, chosen);
  try {
    app.parse(argc, argv);
    return chosen ? chosen() : 0;
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "headroom: %s\n", error.what());
    return static_cast<int>(ErrorKind::usage);
  } catch (const Error& error) {
    std::fprintf(stderr, "headroom: %s\n", error.what());
    return static_cast<int>(error.kind());
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "headroom: out of memory\n");
    return static_cast<int>(ErrorKind::device);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "headroom: %s\n", error.what());
    return static_cast<int>(ErrorKind::internal);
  }
}

}  // namespace headroom::cli
