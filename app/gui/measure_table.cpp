// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/measure_table.h"

#include <QFile>
#include <QStringList>
#include <algorithm>
#include <cstdio>
#include <ctime>

namespace headroom::gui {
namespace {

constexpr double stall_target_ms = 50;
constexpr int name_width = 30;

/// Of this process, from /proc/self/status: "VmHWM", "VmRSS". MB.
double memory_mb(const QByteArray& name) {
  QFile file(QStringLiteral("/proc/self/status"));
  if (!file.open(QIODevice::ReadOnly)) return 0;
  for (const QByteArray& line : file.readAll().split('\n'))
    if (line.startsWith(name + ':')) return line.mid(name.size() + 1).simplified().split(' ').value(0).toDouble() / 1e3;
  return 0;
}

double quantile(const std::vector<double>& sorted, double part) {
  if (sorted.empty()) return 0;
  return sorted[static_cast<std::size_t>(part * static_cast<double>(sorted.size() - 1) + 0.5)];
}

/// Three numbers, or three dashes.
QString three_numbers(const std::vector<double>& sorted) {
  QString text;
  for (const double part : {0.5, 0.95, 1.0})
    text += sorted.empty() ? QStringLiteral("%1").arg(QStringLiteral("-"), 8)
                           : QStringLiteral("%1").arg(quantile(sorted, part), 8, 'f', 1);
  return text;
}

bool beyond_target(const std::vector<double>& sorted, const Target& target) {
  return (target.p95 && quantile(sorted, 0.95) > *target.p95) || (target.most && quantile(sorted, 1) > *target.most);
}

}  // namespace

double own_ms_now() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

void MeasureTable::head(int width, int height) {
  std::printf(
      "Milliseconds from an action to the next drawn frame, window of %dx%d: what the window's thread worked in them, "
      "and what passed on the clock. Stall: the longest time that the event loop was busy at a stretch until "
      "everything "
      "was drawn, again in work and on the clock. Work is what other programs do not lengthen.\n",
      width, height);
  std::printf("%-*s %4s  %8s%8s%8s  %8s%8s%8s  %8s%8s   %s\n", name_width, "", "n", "work p50", "p95", "largest",
              "clock p50", "p95", "largest", "stall", "clock", "hoped for");
}

void MeasureTable::line(const char* name, const std::vector<Sample>& samples, const LoopWatch* watch,
                        const Target& target) {
  std::vector<double> clock, own;
  for (const Sample& sample : samples) {
    clock.push_back(sample.clock);
    own.push_back(sample.own);
  }
  print(name, std::move(clock), std::move(own), watch, target);
}

void MeasureTable::line_of_workers(const char* name, const std::vector<double>& ms, const LoopWatch* watch,
                                   const Target& target) {
  print(name, ms, {}, watch, target);
}

void MeasureTable::print(const char* name, std::vector<double> clock, std::vector<double> own, const LoopWatch* watch,
                         const Target& target) {
  std::sort(clock.begin(), clock.end());
  std::sort(own.begin(), own.end());
  QStringList hoped;
  if (target.p95) hoped << QStringLiteral("p95 %1").arg(*target.p95);
  if (target.most) hoped << QStringLiteral("largest %1").arg(*target.most);
  if (watch) hoped << QStringLiteral("stall %1").arg(stall_target_ms);
  const double stall = watch ? watch->worst_own_ms() : 0, stall_clock = watch ? watch->worst_ms() : 0;
  // Held against the work where there is some: what else the machine does is not the window's.
  const bool missed = beyond_target(own.empty() ? clock : own, target) || stall > stall_target_ms;
  const bool late = beyond_target(clock, target) || stall_clock > stall_target_ms;
  QString stalls = QStringLiteral("%1%2").arg(QStringLiteral("-"), 8).arg(QStringLiteral("-"), 8);
  if (watch) stalls = QStringLiteral("%1%2").arg(stall, 8, 'f', 1).arg(stall_clock, 8, 'f', 1);
  std::printf("%-*s %4zu  %s  %s  %s   %s%s\n", name_width, name, clock.size(), qUtf8Printable(three_numbers(own)),
              qUtf8Printable(three_numbers(clock)), qUtf8Printable(stalls),
              qUtf8Printable(hoped.join(QStringLiteral(", "))),
              missed ? "  (not reached)"
              : late ? "  (not on the clock)"
                     : "");
  std::fflush(stdout);
  if (const double most = memory_mb("VmHWM"); most > most_memory_ + 1) {
    most_memory_ = most;
    most_memory_at_ = QString::fromLatin1(name);
  }
  worst_stall_ = std::max(worst_stall_, stall_clock);
  worst_own_ = std::max(worst_own_, stall);
}

void MeasureTable::left_out(const char* name, const QString& why) {
  std::printf("%-*s    –  %s\n", name_width, name, qUtf8Printable(why));
}

void MeasureTable::foot() {
  std::printf("%-*s %.0f MB at most (in: %s), %.0f MB now   hoped for: 600 MB\n", name_width, "memory of the window",
              memory_mb("VmHWM"), qUtf8Printable(most_memory_at_), memory_mb("VmRSS"));
  std::printf(
      "longest stall of the event loop: %.1f ms of this thread's work, %.1f ms on the clock, hoped for: %.0f ms\n",
      worst_own_, worst_stall_, stall_target_ms);
}

}  // namespace headroom::gui
