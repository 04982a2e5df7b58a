// SPDX-License-Identifier: GPL-3.0-or-later
// The table of `headroom-gui --measure`: a line for each interaction, and what was hoped for beside it.
#pragma once

#include <QElapsedTimer>
#include <QString>
#include <optional>
#include <vector>

#include "gui/loop_watch.h"

namespace headroom::gui {

/// Processor time of the calling thread, ms: what other programs' load does not lengthen.
double own_ms_now();

/// What was hoped for: 95th percentile and largest, ms.
struct Target {
  std::optional<double> p95, most;
};

/// From an action to its frame, ms: on the clock, and what this thread worked meanwhile.
struct Sample {
  double clock = 0, own = 0;
};

/// Begins when it is made.
class Stopwatch {
 public:
  Stopwatch() : own_(own_ms_now()) { clock_.start(); }
  double ms() const { return static_cast<double>(clock_.nsecsElapsed()) / 1e6; }
  Sample sample() const { return {ms(), own_ms_now() - own_}; }

 private:
  QElapsedTimer clock_;
  double own_;
};

/// Prints to standard output as it goes.
class MeasureTable {
 public:
  /// Two lines above the first.
  void head(int width, int height);
  /// `watch`: of the whole series, until everything was drawn; null: the event loop was not watched.
  void line(const char* name, const std::vector<Sample>& samples, const LoopWatch* watch, const Target& target);
  /// Times of other threads, of which this thread worked nothing.
  void line_of_workers(const char* name, const std::vector<double>& ms, const LoopWatch* watch, const Target& target);
  /// What the record does not hold, or the window does not offer for it.
  void left_out(const char* name, const QString& why);
  /// Last: memory, and the longest stall of all lines.
  void foot();

 private:
  void print(const char* name, std::vector<double> clock, std::vector<double> own, const LoopWatch* watch,
             const Target& target);
  double worst_stall_ = 0, worst_own_ = 0;
  double most_memory_ = 0;  ///< MB
  QString most_memory_at_;  ///< the line until which it was reached
};

}  // namespace headroom::gui
