// SPDX-License-Identifier: Apache-2.0
// headroom serve: the engine for the window, framed JSON-RPC over the standard streams.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/error.h"
#include "base/output_file.h"
#include "base/paths.h"
#include "commands.h"
#include "interrupt.h"
#include "model/device.h"
#include "options.h"
#include "serve_channel.h"
#include "serve_engine.h"
#include "serve_host.h"

namespace headroom::cli {
namespace {

constexpr int niceness = 5;  // the window stays smooth
constexpr std::chrono::seconds patience{3};

/// The descriptor that messages go to. From here on whatever a library prints lands on standard error.
int take_over_output() {
  const int output = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  if (output < 0 || ::dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
    throw input_error("standard output", "cannot be used for messages", "an open descriptor", "none");
  return output;
}

std::vector<std::filesystem::path> default_folders() {
  std::error_code ignored;
  std::vector<std::filesystem::path> folders = {std::filesystem::current_path(ignored), cache_folder()};
  if (const char* home = std::getenv("HOME"); home && *home) folders.insert(folders.begin(), home);
  return folders;
}

/// A job that does not stop must not keep a dead window's engine alive.
void end_even_if_a_job_hangs() {
  std::thread([] {
    std::this_thread::sleep_for(patience);
    remove_unfinished_outputs();
    std::_Exit(0);
  }).detach();
}

int serve(const std::string& device_request, const std::vector<std::string>& folders, bool attach) {
  const int output = take_over_output();
  if (attach) {
    // Another process holds the jobs: this one only carries its messages.
    if (const int engine = find_kept_engine(); engine >= 0) {
      forward_streams(engine, output);
      ::close(output);
      return 0;
    }
  }
  ServeChannel channel(output);
  const StopOnInterrupt interrupt;
  if (::nice(niceness) == -1 && errno != 0) errno = 0;  // a nicety, not a need
  const auto device = model::open_device(device_request);
  if (!device.note.empty()) std::fprintf(stderr, "headroom: %s\n", device.note.c_str());
  auto served =
      folders.empty() ? default_folders() : std::vector<std::filesystem::path>(folders.begin(), folders.end());
  int status = 0;
  {
    ServeEngine engine(channel, device, ServedFolders(served));
    ServeHost host(channel, engine, interrupt.token());
    if (attach) {
      engine.take_over(saved_jobs_file());
      engine.keep(true);
    }
    try {
      host.run();
      if (interrupt.token().stop_requested()) status = static_cast<int>(ErrorKind::cancelled);
    } catch (const Error& error) {
      auto info = protocol::error_info(error);
      info.code = static_cast<int>(protocol::RpcCode::parse_error);
      channel.respond_error(channel.client(), std::nullopt, info);
      std::fprintf(stderr, "headroom: %s\n", error.what());
      status = static_cast<int>(error.kind());
    }
    end_even_if_a_job_hangs();
  }
  if (const int problem = channel.problem(); status == 0 && problem != 0 && problem != EPIPE)
    throw Error(ErrorKind::device, "the messages cannot be written", {"standard output", {}, std::strerror(problem)});
  return status;
}

struct ServeOptions {
  std::string device = "auto";
  std::vector<std::string> folders;
  bool attach = false;
};

}  // namespace

void add_serve(CLI::App& app, Action& chosen) {
  const auto options = std::make_shared<ServeOptions>();
  auto* command = app.add_subcommand("serve", "The engine for the window: JSON-RPC over the standard streams");
  command->add_option("--device", options->device, device_help);
  command->add_option("--folder", options->folders, "folder that the window may browse; repeatable")
      ->allow_extra_args(false);
  command->add_flag(
      "--attach", options->attach,
      "jobs outlive the connection; comes back to the engine that was left with jobs, where there is one");
  command->callback(
      [options, &chosen] { chosen = [options] { return serve(options->device, options->folders, options->attach); }; });
}

}  // namespace headroom::cli
