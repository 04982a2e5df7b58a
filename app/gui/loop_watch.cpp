// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/loop_watch.h"

#include <algorithm>
#include <ctime>

namespace headroom::gui {
namespace {

constexpr int beat_ms = 1;

double own_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

}  // namespace

LoopWatch::LoopWatch(QObject* parent) : QObject(parent) {
  timer_.setTimerType(Qt::PreciseTimer);
  timer_.setInterval(beat_ms);
  connect(&timer_, &QTimer::timeout, this, &LoopWatch::beat);
  reset();
  timer_.start();
}

void LoopWatch::reset() {
  since_.start();
  own_since_ms_ = own_ms();
  worst_ms_ = worst_own_ms_ = 0;
}

void LoopWatch::beat() {
  const double gap = static_cast<double>(since_.nsecsElapsed()) / 1e6, now = own_ms();
  worst_ms_ = std::max(worst_ms_, gap - beat_ms);
  worst_own_ms_ = std::max(worst_own_ms_, now - own_since_ms_);
  since_.start();
  own_since_ms_ = now;
}

}  // namespace headroom::gui
