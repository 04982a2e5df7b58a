// SPDX-License-Identifier: Apache-2.0
// Ctrl+C, a request to end and the end of the terminal. Where nothing polls, the program ends at once with exit code 5
// and leaves nothing half written.
#pragma once

#include <stop_token>
#include <thread>

namespace headroom::cli {

/// For the whole program; signals that are ignored stay so.
void cancel_on_signals();

/// While it lives a signal is a stop request: the job ends at its next check and keeps what it finished. More of them
/// change nothing for three seconds; one that comes later kills.
class StopOnInterrupt {
 public:
  StopOnInterrupt();
  ~StopOnInterrupt();
  StopOnInterrupt(const StopOnInterrupt&) = delete;
  StopOnInterrupt& operator=(const StopOnInterrupt&) = delete;
  std::stop_token token() const { return source_.get_token(); }

 private:
  std::stop_source source_;
  std::jthread watcher_;  // a signal handler may not request a stop itself
};

}  // namespace headroom::cli
