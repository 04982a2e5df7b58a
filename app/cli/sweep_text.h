// SPDX-License-Identifier: Apache-2.0
// What a sweep says to people: a table a length, verdicts, gaps, alarms; and its progress on standard error.
#pragma once

#include <chrono>
#include <string>

#include "experiment/sweep/sweep.h"
#include "record/sweep/sweep_summary.h"

namespace headroom::cli {

/// Macro means where there are several tasks, then each task; gaps and alarms behind them.
std::string sweep_text(const record::SweepRecord& record, const record::SweepSummary& summary);

/// One updating line on a terminal; elsewhere a line at once and then every half minute.
class SweepLine {
 public:
  SweepLine(int shard, int shards);
  ~SweepLine() { clear(); }
  void show(const experiment::SweepProgress& progress);
  /// Wipes the line so that other output can follow.
  void clear();

 private:
  bool terminal_, shown_ = false, first_ = true;
  int shard_, shards_;
  std::chrono::steady_clock::time_point last_{};
};

/// "3 h 20 min", "45 s".
std::string duration_text(double seconds);

}  // namespace headroom::cli
