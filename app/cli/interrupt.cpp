// SPDX-License-Identifier: Apache-2.0
#include "interrupt.h"

#include <atomic>
#include <chrono>
#include <csignal>

namespace headroom::cli {
namespace {

std::atomic<bool> interrupted = false;

void on_signal(int signal) {
  if (interrupted.exchange(true)) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

}  // namespace

StopOnInterrupt::StopOnInterrupt()
    : watcher_([this](const std::stop_token& closing) {
        while (!closing.stop_requested()) {
          if (interrupted) source_.request_stop();
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
      }) {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

StopOnInterrupt::~StopOnInterrupt() {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
}

}  // namespace headroom::cli
