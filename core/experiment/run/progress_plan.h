// SPDX-License-Identifier: Apache-2.0
// How far a run is: names the phase of each pass, turns layers into tokens/s and estimates the time left.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "base/progress.h"

namespace headroom::experiment {

/// The passes of a run, one after the other. What the decoder reports (layers) becomes the run's progress.
class ProgressPlan {
 public:
  /// `passes`: how many passes over the whole prompt are planned.
  ProgressPlan(const JobContext& job, std::int64_t tokens, std::int64_t layers, std::int64_t passes);

  /// The context for one pass named `phase`; `counted` passes are those that were planned. Keep this object alive.
  JobContext begin(const std::string& phase, bool counted);
  void end();
  /// A phase without layers: loading, answering, writing.
  void report(const std::string& phase, std::int64_t done = 0, std::int64_t total = 0);

 private:
  using Clock = std::chrono::steady_clock;
  void layer_progress(const Progress& progress);
  double eta(double fraction_of_pass) const;

  JobContext job_;
  std::int64_t tokens_, layers_, passes_left_;
  std::string phase_;
  bool counted_ = false;
  Clock::time_point start_{};
  double last_pass_s_ = 0;
};

}  // namespace headroom::experiment
