// SPDX-License-Identifier: Apache-2.0
// What this process may use of its machine: the memory and processors there are, less what a container, the affinity
// mask or a resource limit takes away.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace headroom {

struct MachineLimits {
  std::int64_t total_bytes = 0;   ///< memory that the process can ever have; 0 = not known
  std::int64_t free_bytes = 0;    ///< what it can have beside what is in use now
  std::string memory_limit;       ///< what leaves no more than that, in words; empty where nothing is known
  bool is_address_space = false;  ///< it counts what is mapped (RLIMIT_AS), not what is in use
  int threads = 1;  ///< processors: those of the affinity mask, at most the quota rounded down, at least 1
};

/// Read from proc/meminfo, proc/self/{cgroup,mountinfo,limits,status} and the cgroup files (version 2: memory.max,
/// memory.current, cpu.max; version 1: memory.limit_in_bytes, memory.usage_in_bytes, cpu.cfs_quota_us), each in the
/// process's own group and all groups above it: the tightest limit counts. Page cache of a group counts as free, since
/// it makes way. A file that is missing or holds something else than expected limits nothing. `root`: where the file
/// systems lie, "/" but for tests.
MachineLimits machine_limits(const std::filesystem::path& root = "/");

}  // namespace headroom
