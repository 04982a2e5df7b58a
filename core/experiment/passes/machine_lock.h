// SPDX-License-Identifier: Apache-2.0
// Timing and measuring exclude each other: whoever measures what this machine does holds the lock meanwhile, so that no
// two measurements of one process disturb each other.
#pragma once

#include <mutex>
#include <optional>

#include "base/progress.h"

namespace headroom::experiment {

/// Held while it lives; released by the thread that took it. A thread takes it once.
class MachineLock {
 public:
  /// Waits until nobody measures. Throws cancelled where a stop is requested meanwhile.
  static MachineLock wait(const JobContext& job);
  /// None where somebody measures: the caller does without.
  static std::optional<MachineLock> try_now();

 private:
  explicit MachineLock(std::unique_lock<std::timed_mutex> lock) : lock_(std::move(lock)) {}
  std::unique_lock<std::timed_mutex> lock_;
};

}  // namespace headroom::experiment
