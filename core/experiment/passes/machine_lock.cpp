// SPDX-License-Identifier: Apache-2.0
#include "experiment/passes/machine_lock.h"

#include <chrono>

namespace headroom::experiment {
namespace {

constexpr std::chrono::milliseconds poll{50};

std::timed_mutex& machine() {
  static std::timed_mutex mutex;
  return mutex;
}

}  // namespace

MachineLock MachineLock::wait(const JobContext& job) {
  std::unique_lock lock(machine(), std::defer_lock);
  do job.check();
  while (!lock.try_lock_for(poll));
  return MachineLock(std::move(lock));
}

std::optional<MachineLock> MachineLock::try_now() {
  std::unique_lock lock(machine(), std::try_to_lock);
  if (!lock) return std::nullopt;
  return MachineLock(std::move(lock));
}

}  // namespace headroom::experiment
