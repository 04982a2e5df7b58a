// SPDX-License-Identifier: Apache-2.0
#include "base/machine_load.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "base/proc_files.h"

namespace headroom {
namespace {

constexpr double least_share = 0.1;     // of a processor
constexpr double least_seconds = 0.05;  // five ticks

/// user, nice, system, irq, softirq and steal of a "cpuN" line, in ticks; none where a number is missing.
std::optional<std::int64_t> busy_ticks(const std::vector<std::string>& words) {
  std::int64_t sum = 0;
  for (const std::size_t column : {1u, 2u, 3u, 6u, 7u, 8u}) {
    const auto ticks = column < words.size() ? proc::number(words[column]) : std::nullopt;
    if (!ticks) return std::nullopt;
    sum += *ticks;
  }
  return sum;
}

}  // namespace

double MachineLoad::taken() const {
  return std::max(0.0, other_cpus - std::max(0, cpus - threads));
}

bool MachineLoad::disturbed() const {
  return taken() > least_share && taken() * seconds > least_seconds;
}

std::string MachineLoad::text() const {
  char text[96];
  std::snprintf(text, sizeof text, "other work took %.1f of %d processor%s", taken(), cpus, cpus == 1 ? "" : "s");
  return text;
}

std::optional<CpuTimes> cpu_times(const std::filesystem::path& root) {
  const auto allowed = proc::allowed_processors(root);
  const auto ticks_a_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  CpuTimes times;
  std::vector<double> all;
  bool any = false;
  for (const auto& line : proc::lines_of(root / "proc/stat")) {
    if (!line.starts_with("cpu")) break;
    const auto words = proc::words_of(line);
    const auto number = proc::number(std::string_view(words.front()).substr(3));
    if (!number) continue;  // the sum of all processors
    const auto ticks = busy_ticks(words);
    if (!ticks) return std::nullopt;
    any |= *ticks > 0;
    all.push_back(static_cast<double>(*ticks) / ticks_a_second);
    if (std::binary_search(allowed.begin(), allowed.end(), *number)) times.busy.push_back(all.back());
  }
  if (!any || ticks_a_second <= 0) return std::nullopt;  // sandboxes that show zeros
  if (times.busy.empty()) times.busy = std::move(all);
  std::timespec own{};
  if (::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own) != 0) return std::nullopt;
  times.own = static_cast<double>(own.tv_sec) + 1e-9 * static_cast<double>(own.tv_nsec);
  times.now = std::chrono::steady_clock::now();
  return times;
}

std::optional<MachineLoad> load_between(const std::optional<CpuTimes>& before, const std::optional<CpuTimes>& after,
                                        int threads) {
  if (!before || !after || before->busy.size() != after->busy.size()) return std::nullopt;
  MachineLoad load;
  load.seconds = std::chrono::duration<double>(after->now - before->now).count();
  load.cpus = static_cast<int>(after->busy.size());
  load.threads = threads;
  if (load.seconds <= 0) return std::nullopt;
  double busy = 0;
  for (std::size_t i = 0; i < after->busy.size(); ++i) busy += std::max(0.0, after->busy[i] - before->busy[i]);
  const double others = busy - (after->own - before->own);
  load.other_cpus = std::clamp(others / load.seconds, 0.0, static_cast<double>(load.cpus));
  return load;
}

void add_load(std::optional<MachineLoad>& sum, const std::optional<MachineLoad>& part) {
  if (!part) return;
  if (!sum) {
    sum = part;
    return;
  }
  const double seconds = sum->seconds + part->seconds;
  sum->other_cpus = (sum->other_cpus * sum->seconds + part->other_cpus * part->seconds) / seconds;
  sum->seconds = seconds;
  sum->cpus = std::max(sum->cpus, part->cpus);
  sum->threads = std::max(sum->threads, part->threads);
}

}  // namespace headroom
