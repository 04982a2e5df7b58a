// SPDX-License-Identifier: Apache-2.0
#include "base/machine_limits.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "base/proc_files.h"

namespace headroom {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();

bool has_item(std::string_view list, std::string_view item) {
  for (std::size_t begin = 0; begin <= list.size();) {
    const auto end = std::min(list.find(',', begin), list.size());
    if (list.substr(begin, end - begin) == item) return true;
    begin = end + 1;
  }
  return false;
}

/// A path of the running system below `root`.
fs::path below(const fs::path& root, const fs::path& path) {
  return root / path.relative_path();
}

/// The process's own group of one controller and all groups above it that can be seen, the own one first. `controller`
/// is empty for version 2.
std::vector<fs::path> groups(const fs::path& root, const std::string& controller) {
  // proc/self/cgroup: "number:controllers:path", the controllers of version 2 are empty.
  std::string path;
  for (const auto& line : proc::lines_of(root / "proc/self/cgroup")) {
    const auto first = line.find(':'), second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const auto controllers = std::string_view(line).substr(first + 1, second - first - 1);
    if (controller.empty() ? controllers.empty() : has_item(controllers, controller)) path = line.substr(second + 1);
  }
  if (path.empty()) return {};
  // proc/self/mountinfo: id, parent, device, root, mount point, options, …, "-", type, source, super options.
  for (const auto& line : proc::lines_of(root / "proc/self/mountinfo")) {
    const auto words = proc::words_of(line);
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.size() < 6 || words.end() - dash < 4) continue;
    if (dash[1] != (controller.empty() ? "cgroup2" : "cgroup")) continue;
    if (!controller.empty() && !has_item(dash[3], controller)) continue;
    // A container may see its own group as the root of the mount, under whatever name it has outside.
    const fs::path mount = below(root, words[4]);
    std::error_code ignored;
    fs::path relative = fs::path(path).lexically_relative(words[3]);
    if (relative.empty() || *relative.begin() == ".." || !fs::is_directory(mount / relative, ignored)) relative = ".";
    std::vector<fs::path> list;
    for (fs::path group = (mount / relative).lexically_normal();; group = group.parent_path()) {
      if (group.filename().empty()) group = group.parent_path();
      list.push_back(group);
      if (group == mount.lexically_normal() || !group.has_relative_path()) return list;
    }
  }
  return {};
}

struct Memory {
  std::int64_t total = unlimited, free = unlimited;
  std::string limit_name;
  bool address_space = false;
  /// Where all is in use a byte is left, since 0 means that nothing is known.
  void limit(std::int64_t most, std::int64_t used, const std::string& name, bool is_address_space = false) {
    total = std::min(total, most);
    const auto left = std::max<std::int64_t>(1, most - used);
    if (left >= free) return;
    free = left;
    limit_name = name;
    address_space = is_address_space;
  }
};

void limit_by_machine(Memory& memory, const fs::path& root) {
  const auto total = proc::kilobytes(root / "proc/meminfo", "MemTotal");
  const auto available = proc::kilobytes(root / "proc/meminfo", "MemAvailable");
  if (total) memory.total = *total;
  if (!available) return;
  memory.free = *available;
  memory.limit_name = "this machine's memory";
}

void limit_by_groups(Memory& memory, const fs::path& root, bool version_2) {
  for (const auto& group : groups(root, version_2 ? "" : "memory")) {
    const fs::path file = group / (version_2 ? "memory.max" : "memory.limit_in_bytes");
    const auto most = proc::number_in(file);
    if (!most) continue;
    const auto used = proc::number_in(group / (version_2 ? "memory.current" : "memory.usage_in_bytes")).value_or(0);
    std::int64_t cache = 0;
    for (const char* list : {"inactive_file", "active_file"})
      cache += proc::entry(group / "memory.stat", (version_2 ? "" : "total_") + std::string(list)).value_or(0);
    memory.limit(*most, std::max<std::int64_t>(0, used - cache),
                 "the memory limit of the process's control group (/" + file.lexically_relative(root).string() + ")");
  }
}

/// RLIMIT_AS, as the process sees it.
void limit_by_address_space(Memory& memory, const fs::path& root) {
  constexpr std::string_view name = "Max address space";
  for (const auto& line : proc::lines_of(root / "proc/self/limits")) {
    if (!line.starts_with(name)) continue;
    const auto words = proc::words_of(line.substr(name.size()));
    const auto most = words.empty() ? std::nullopt : proc::number(words[0]);
    if (most)
      memory.limit(*most, proc::kilobytes(root / "proc/self/status", "VmSize").value_or(0),
                   "the limit of the process's address space (ulimit -v)", true);
  }
}

int processors(const fs::path& root) {
  const auto allowed = proc::allowed_processors(root);
  return allowed.empty() ? std::max(1, static_cast<int>(std::thread::hardware_concurrency()))
                         : static_cast<int>(allowed.size());
}

/// Whole processors that the quotas leave; at least 1.
std::int64_t quota(const fs::path& root) {
  std::int64_t least = unlimited;
  const auto take = [&](std::optional<std::int64_t> micros, std::optional<std::int64_t> period) {
    if (micros && period && *micros > 0 && *period > 0) least = std::min(least, *micros / *period);
  };
  for (const auto& group : groups(root, "")) {
    const auto lines = proc::lines_of(group / "cpu.max");
    const auto words = lines.empty() ? std::vector<std::string>() : proc::words_of(lines.front());
    if (words.size() == 2) take(proc::number(words[0]), proc::number(words[1]));
  }
  for (const auto& group : groups(root, "cpu"))
    take(proc::number_in(group / "cpu.cfs_quota_us"), proc::number_in(group / "cpu.cfs_period_us"));
  return std::max<std::int64_t>(1, least);
}

}  // namespace

MachineLimits machine_limits(const fs::path& root) {
  Memory memory;
  limit_by_machine(memory, root);
  limit_by_groups(memory, root, true);
  limit_by_groups(memory, root, false);
  limit_by_address_space(memory, root);
  MachineLimits limits;
  if (memory.total != unlimited) limits.total_bytes = memory.total;
  if (memory.free != unlimited) limits.free_bytes = memory.free;
  limits.memory_limit = memory.limit_name;
  limits.is_address_space = memory.address_space;
  limits.threads = static_cast<int>(std::min<std::int64_t>(processors(root), quota(root)));
  return limits;
}

}  // namespace headroom
