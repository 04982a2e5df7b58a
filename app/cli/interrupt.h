// SPDX-License-Identifier: Apache-2.0
// Ctrl+C as a stop request: the job ends at its next check and keeps what it finished. A second Ctrl+C kills.
#pragma once

#include <stop_token>
#include <thread>

namespace headroom::cli {

class StopOnInterrupt {
 public:
  StopOnInterrupt();
  ~StopOnInterrupt();
  std::stop_token token() const { return source_.get_token(); }

 private:
  std::stop_source source_;
  std::jthread watcher_;  // a signal handler may not request a stop itself
};

}  // namespace headroom::cli
