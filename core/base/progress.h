// SPDX-License-Identifier: Apache-2.0
// Progress and cancellation of long work. Core emits counts; the programs turn them into words.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "base/error.h"

namespace headroom {

struct Progress {
  std::string phase;         ///< e.g. "load", "dense timed 1/3", "oracle-k512-g1 recorded"
  std::int64_t done = 0;     ///< units of work finished in this phase
  std::int64_t total = 0;    ///< 0 = unknown
  int layer = -1;            ///< layer at work, or -1
  double tokens_per_s = 0;   ///< 0 = not known yet
  double eta_s = -1;         ///< seconds until the whole job is done; -1 = not known
};

using ProgressSink = std::function<void(const Progress&)>;

/// What long work is given. Poll `check()` between layers, row tiles or chunks (at least every 100 ms of work).
struct JobContext {
  std::stop_token stop;
  ProgressSink progress;  ///< may be empty

  /// Throws ErrorKind::cancelled once a stop was requested.
  void check() const {
    if (stop.stop_requested()) throw cancelled_error();
  }
  void report(const Progress& p) const {
    if (progress) progress(p);
  }
};

}  // namespace headroom
