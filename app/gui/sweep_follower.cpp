// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/sweep_follower.h"

#include <algorithm>
#include <exception>

#include "gui/file_names.h"
#include "views/common/workers.h"

namespace headroom::gui {
namespace {

constexpr int least_pause_ms = 400, most_pause_ms = 20000;
constexpr int rest_factor = 4;  // of the time that a reading took: the engine needs the processors more

views::SweepPtr read_growing(const std::filesystem::path& path) {
  try {
    return views::read_open_sweep(path, true);
  } catch (const std::exception&) {
    return nullptr;  // not there yet, or gone: the job itself says what is wrong
  }
}

}  // namespace

SweepFollower::SweepFollower(QObject* parent) : QObject(parent) {
  pause_.setSingleShot(true);
  connect(&pause_, &QTimer::timeout, this, &SweepFollower::read_next);
  connect(&reading_, &QFutureWatcher<views::SweepPtr>::finished, this, [this] {
    const views::SweepPtr sweep = reading_.result();
    const bool wanted = !std::exchange(at_work_, QString()).isEmpty();
    pause_.start(std::clamp(static_cast<int>(took_.elapsed()) * rest_factor, least_pause_ms, most_pause_ms));
    if (wanted && sweep) emit grown(sweep);
  });
}

SweepFollower::~SweepFollower() {
  reading_.waitForFinished();
}

void SweepFollower::row_finished(const QString& path) {
  waiting_.insert(path);
  if (!pause_.isActive() && !reading_.isRunning()) read_next();
}

void SweepFollower::ended(const QString& path) {
  waiting_.erase(path);
  if (at_work_ == path) at_work_.clear();
}

void SweepFollower::read_next() {
  if (reading_.isRunning() || waiting_.empty()) return;
  at_work_ = *waiting_.begin();
  waiting_.erase(waiting_.begin());
  took_.start();
  reading_.setFuture(views::in_worker(read_growing, path_of(at_work_)));
}

}  // namespace headroom::gui
