// SPDX-License-Identifier: Apache-2.0
// Progress on standard error: one updating line on a terminal, one line a phase elsewhere.
#pragma once

#include <chrono>
#include <mutex>
#include <string>
#include <string_view>

#include "base/progress.h"

namespace headroom::cli {

class ProgressLine {
 public:
  ProgressLine();
  ~ProgressLine() { clear(); }
  /// Valid while this object lives; may be called from any thread.
  ProgressSink sink();
  /// The text that is generated, so far: its end stands in the line until another phase begins.
  void set_answer(std::string_view text);
  /// Wipes the line so that other output can follow.
  void clear();

 private:
  void show(const Progress& progress);

  std::mutex mutex_;
  bool terminal_;
  bool shown_ = false;
  std::string last_phase_, answering_, answer_;  ///< shown last; reported last; of that
  std::chrono::steady_clock::time_point last_time_{}, last_credit_{};
  double credits_ = 10;  ///< lines that a log may still get at once
};

}  // namespace headroom::cli
