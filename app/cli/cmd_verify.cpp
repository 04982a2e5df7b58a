// SPDX-License-Identifier: Apache-2.0
// `headroom verify`: every path against its reference on this machine.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "commands.h"
#include "experiment/verify/verify.h"
#include "interrupt.h"
#include "standard_streams.h"

namespace headroom::cli {
namespace {

int run_verify(const std::string& device, bool json) {
  StopOnInterrupt interrupt;
  const JobContext job{.stop = interrupt.token(), .progress = {}};
  bool first = true;
  const auto report = experiment::verify(device, job, [&](const experiment::VerifyRow& row) {
    if (json) return;
    if (first) print_answer("%-39s %-40s %-5s %10s %10s  %s\n", "path", "input", "dtype", "error", "allowed", "result");
    first = false;
    print_answer("%-39s %-40s %-5s %10.2e %10.2e  %s%s%s\n", row.path.c_str(), row.shape.c_str(), row.dtype.c_str(),
                 row.error, row.allowed,
                 !row.ran     ? "not run"
                 : row.passed ? "ok"
                              : "FAILED",
                 row.note.empty() ? "" : ": ", row.note.c_str());
    flush_answer();
  });
  if (json) {
    write_answer(experiment::to_json(report).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  } else {
    const auto failed =
        std::count_if(report.rows.begin(), report.rows.end(), [](const auto& row) { return row.ran && !row.passed; });
    print_answer("\n%s: %zu checks against fp64, %lld failed.%s\n", report.device.c_str(), report.rows.size(),
                 static_cast<long long>(failed),
                 report.model_used ? "" : " The default model is not fetched: random inputs only.");
  }
  if (!report.device_note.empty()) std::fprintf(stderr, "%s\n", report.device_note.c_str());
  return report.passed() ? 0 : static_cast<int>(ErrorKind::internal);
}

}  // namespace

void add_verify(CLI::App& app, Action& chosen) {
  auto* command = app.add_subcommand("verify", "Check every path against its fp64 reference on this machine");
  const auto device = std::make_shared<std::string>("auto");
  const auto json = std::make_shared<bool>(false);
  command->add_option("--device", *device, "auto, cpu, cuda or cuda:i")->capture_default_str();
  command->add_flag("--json", *json, "One JSON object");
  command->callback([device, json, &chosen] { chosen = [device, json] { return run_verify(*device, *json); }; });
}

}  // namespace headroom::cli
