// SPDX-License-Identifier: Apache-2.0
#include "progress_line.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/utf8.h"

namespace headroom::cli {
namespace {

constexpr std::size_t shown_answer = 36;  // bytes: with its phase the line fits 80 columns

}  // namespace

ProgressLine::ProgressLine() : terminal_(::isatty(STDERR_FILENO) == 1) {}

ProgressSink ProgressLine::sink() {
  return [this](const Progress& progress) { show(progress); };
}

void ProgressLine::clear() {
  const std::lock_guard lock(mutex_);
  if (shown_) std::fputs("\r\033[K", stderr);
  shown_ = false;
}

void ProgressLine::set_answer(std::string_view text) {
  const std::lock_guard lock(mutex_);
  answer_ = utf8_tail(escape_controls(text), shown_answer);
}

void ProgressLine::show(const Progress& progress) {
  const std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  const bool new_phase = progress.phase != last_phase_;
  if (progress.phase != answering_) answer_.clear();
  answering_ = progress.phase;
  if (terminal_) {
    if (now - last_time_ < std::chrono::milliseconds(100)) return;
  } else if (new_phase) {
    // Short phases may follow each other quickly, but a log is not flooded: ten lines at once, then one a second.
    const std::chrono::duration<double> idle = now - last_credit_;
    credits_ = std::min(10.0, credits_ + idle.count());
    last_credit_ = now;
    if (credits_ < 1) return;
    credits_ -= 1;
  } else if (now - last_time_ < std::chrono::seconds(10)) {
    return;
  }
  last_time_ = now;
  last_phase_ = progress.phase;
  std::string line = progress.phase;
  char part[64];
  if (progress.total > 0) {
    std::snprintf(part, sizeof part, " %3.0f %%",
                  100.0 * static_cast<double>(progress.done) / static_cast<double>(progress.total));
    line += part;
  }
  if (progress.layer >= 0) line += " layer " + std::to_string(progress.layer);
  if (progress.tokens_per_s > 0) {
    std::snprintf(part, sizeof part, " %.0f tokens/s", progress.tokens_per_s);
    line += part;
  }
  if (terminal_ && !answer_.empty()) line += ": " + answer_;
  if (terminal_)
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
  else
    std::fprintf(stderr, "%s\n", line.c_str());
  std::fflush(stderr);
  shown_ = terminal_;
}

}  // namespace headroom::cli
