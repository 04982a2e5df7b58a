// SPDX-License-Identifier: Apache-2.0
#include "base/machine_limits.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <functional>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace headroom {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();

std::vector<std::string> lines_of(const fs::path& file) {
  std::ifstream stream(file);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

/// A whole number from 0 on; none for anything else.
std::optional<std::int64_t> number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

/// Of a file with nothing but a number ("max" and -1 are none).
std::optional<std::int64_t> number_in(const fs::path& file) {
  const auto lines = lines_of(file);
  return lines.empty() ? std::nullopt : number(lines.front());
}

/// The number behind "key" in a file of "key number" lines; a colon may stand behind the key.
std::optional<std::int64_t> entry(const fs::path& file, std::string_view key) {
  for (const auto& line : lines_of(file)) {
    const auto words = words_of(line);
    if (words.size() < 2) continue;
    std::string_view name = words[0];
    if (name.ends_with(':')) name.remove_suffix(1);
    if (name == key) return number(words[1]);
  }
  return std::nullopt;
}

std::optional<std::int64_t> kilobytes(const fs::path& file, std::string_view key) {
  const auto value = entry(file, key);
  return value && *value <= unlimited / 1024 ? std::optional(*value * 1024) : std::nullopt;
}

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
  for (const auto& line : lines_of(root / "proc/self/cgroup")) {
    const auto first = line.find(':'), second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const auto controllers = std::string_view(line).substr(first + 1, second - first - 1);
    if (controller.empty() ? controllers.empty() : has_item(controllers, controller)) path = line.substr(second + 1);
  }
  if (path.empty()) return {};
  // proc/self/mountinfo: id, parent, device, root, mount point, options, …, "-", type, source, super options.
  for (const auto& line : lines_of(root / "proc/self/mountinfo")) {
    const auto words = words_of(line);
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
  /// Where all is in use a byte is left, since 0 means that nothing is known.
  void limit(std::int64_t most, std::int64_t used) {
    total = std::min(total, most);
    free = std::min(free, std::max<std::int64_t>(1, most - used));
  }
};

void limit_by_groups(Memory& memory, const fs::path& root, bool version_2) {
  for (const auto& group : groups(root, version_2 ? "" : "memory")) {
    const auto most = number_in(group / (version_2 ? "memory.max" : "memory.limit_in_bytes"));
    if (!most) continue;
    const auto used = number_in(group / (version_2 ? "memory.current" : "memory.usage_in_bytes")).value_or(0);
    std::int64_t cache = 0;
    for (const char* list : {"inactive_file", "active_file"})
      cache += entry(group / "memory.stat", (version_2 ? "" : "total_") + std::string(list)).value_or(0);
    memory.limit(*most, std::max<std::int64_t>(0, used - cache));
  }
}

/// RLIMIT_AS, as the process sees it.
void limit_by_address_space(Memory& memory, const fs::path& root) {
  constexpr std::string_view name = "Max address space";
  for (const auto& line : lines_of(root / "proc/self/limits")) {
    if (!line.starts_with(name)) continue;
    const auto words = words_of(line.substr(name.size()));
    const auto most = words.empty() ? std::nullopt : number(words[0]);
    if (most) memory.limit(*most, kilobytes(root / "proc/self/status", "VmSize").value_or(0));
  }
}

/// Processors in a list such as "0-3,8"; 0 where it is not understood.
int count_processors(std::string_view list) {
  std::int64_t count = 0;
  for (std::size_t begin = 0; begin < list.size();) {
    const auto end = std::min(list.find(',', begin), list.size());
    const auto range = list.substr(begin, end - begin);
    const auto dash = range.find('-');
    const auto first = number(range.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : number(range.substr(dash + 1));
    if (!first || !last || *last < *first || *last > 1 << 20) return 0;
    count += *last - *first + 1;
    begin = end + 1;
  }
  return static_cast<int>(std::min<std::int64_t>(count, 1 << 20));
}

int processors(const fs::path& root) {
  for (const auto& line : lines_of(root / "proc/self/status")) {
    const auto words = words_of(line);
    if (words.size() == 2 && words[0] == "Cpus_allowed_list:")
      if (const int count = count_processors(words[1]); count > 0) return count;
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// Whole processors that the quotas leave; at least 1.
std::int64_t quota(const fs::path& root) {
  std::int64_t least = unlimited;
  const auto take = [&](std::optional<std::int64_t> micros, std::optional<std::int64_t> period) {
    if (micros && period && *micros > 0 && *period > 0) least = std::min(least, *micros / *period);
  };
  for (const auto& group : groups(root, "")) {
    const auto lines = lines_of(group / "cpu.max");
    const auto words = lines.empty() ? std::vector<std::string>() : words_of(lines.front());
    if (words.size() == 2) take(number(words[0]), number(words[1]));
  }
  for (const auto& group : groups(root, "cpu"))
    take(number_in(group / "cpu.cfs_quota_us"), number_in(group / "cpu.cfs_period_us"));
  return std::max<std::int64_t>(1, least);
}

}  // namespace

MachineLimits machine_limits(const fs::path& root) {
  Memory memory;
  const auto total = kilobytes(root / "proc/meminfo", "MemTotal");
  const auto available = kilobytes(root / "proc/meminfo", "MemAvailable");
  if (total) memory.total = *total;
  if (available) memory.free = *available;
  limit_by_groups(memory, root, true);
  limit_by_groups(memory, root, false);
  limit_by_address_space(memory, root);
  MachineLimits limits;
  if (memory.total != unlimited) limits.total_bytes = memory.total;
  if (memory.free != unlimited) limits.free_bytes = memory.free;
  limits.threads = static_cast<int>(std::min<std::int64_t>(processors(root), quota(root)));
  return limits;
}

}  // namespace headroom
