// SPDX-License-Identifier: Apache-2.0
// What other work did with the processors while something was timed: a time that was taken on a busy machine says so.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace headroom {

/// Of the processors that this process may use, over some time. The hypervisor's share (steal) counts as other work.
struct MachineLoad {
  double seconds = 0;
  double other_cpus = 0;  ///< processors that other work kept busy, mean over the time
  int cpus = 0;           ///< processors there were
  int threads = 0;        ///< of this process that worked

  /// Processors that other work took from this process: what it used beyond those that the threads leave idle.
  double taken() const;
  /// Other work took more than a tenth of a processor, and more than /proc/stat's clock ticks can err by.
  bool disturbed() const;
  /// "other work took 0.8 of 2 processors"
  std::string text() const;
};

/// Processor times up to now.
struct CpuTimes {
  std::chrono::steady_clock::time_point now;
  std::vector<double> busy;  ///< seconds that each processor worked, for whomever
  double own = 0;            ///< seconds that this process's threads worked
};

/// From proc/stat, of the processors of the affinity mask; of all where the file counts them differently, as in some
/// containers. None where the system does not say. `root`: where the file systems lie, "/" but for tests.
std::optional<CpuTimes> cpu_times(const std::filesystem::path& root = "/");
/// None where one of them is, or where they do not belong together.
std::optional<MachineLoad> load_between(const std::optional<CpuTimes>& before, const std::optional<CpuTimes>& after,
                                        int threads);
/// Of several pieces of time.
void add_load(std::optional<MachineLoad>& sum, const std::optional<MachineLoad>& part);

}  // namespace headroom
