// SPDX-License-Identifier: Apache-2.0
#include "interrupt.h"

#include <time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/output_file.h"

namespace headroom::cli {
namespace {

/// So long further signals change nothing: what was finished is being written. People press Ctrl+C more than once.
constexpr std::int64_t patience_ns = 3'000'000'000;

std::atomic<bool> polled = false;
std::atomic<std::int64_t> interrupted_at = 0;  ///< 0: not yet
static_assert(std::atomic<std::int64_t>::is_always_lock_free);

std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

void on_signal(int signal) {
  if (!polled) {
    constexpr std::string_view message = "headroom: cancelled\n";
    [[maybe_unused]] const auto written = ::write(STDERR_FILENO, message.data(), message.size());
    remove_unfinished_outputs();
    ::_exit(static_cast<int>(ErrorKind::cancelled));
  }
  const int kept = errno;
  const std::int64_t now = now_ns();
  std::int64_t first = 0;
  if (!interrupted_at.compare_exchange_strong(first, now) && now - first > patience_ns) {
    remove_unfinished_outputs();
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  errno = kept;
}

}  // namespace

void cancel_on_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    // nohup, and shells that start a command in the background, want it ignored.
    if (::sigaction(signal, nullptr, &before) == 0 && before.sa_handler != SIG_IGN)
      ::sigaction(signal, &action, nullptr);
  }
}

StopOnInterrupt::StopOnInterrupt()
    : watcher_([this](const std::stop_token& closing) {
        while (!closing.stop_requested()) {
          if (interrupted_at != 0) source_.request_stop();
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
      }) {
  polled = true;
}

StopOnInterrupt::~StopOnInterrupt() {
  polled = false;
}

}  // namespace headroom::cli
