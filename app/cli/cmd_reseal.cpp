// SPDX-License-Identifier: Apache-2.0
// headroom reseal: a record that another program changed, written anew.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "base/output_file.h"
#include "base/utf8.h"
#include "commands.h"
#include "interrupt.h"
#include "record/reseal.h"
#include "standard_streams.h"

namespace headroom::cli {

void add_reseal(CLI::App& app, Action& chosen) {
  struct Options {
    std::string in, out;
  };
  auto* command = app.add_subcommand(
      "reseal", "Write a record anew that another program changed, read through the HDF5 library");
  const auto options = std::make_shared<Options>();
  command->add_option("in", options->in, "The changed record")->required();
  command->add_option("--out", options->out, "The record to write")->required();
  command->callback([options, &chosen] {
    chosen = [options] {
      OutputPlace out(options->out, OutputKind::file);
      const StopOnInterrupt interrupt;
      const auto written = record::reseal(options->in, out, {interrupt.token(), {}});
      write_answer(printable_text(describe_output(options->out, written)) +
                   "\nIts content is as it was found: who changed it is not recorded.\n");
      return 0;
    };
  });
}

}  // namespace headroom::cli
