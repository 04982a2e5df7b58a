// SPDX-License-Identifier: GPL-3.0-or-later
// Work of another thread that is waited for while the event loop runs.
#pragma once

#include <QCoreApplication>
#include <QFuture>
#include <QThread>
#include <functional>
#include <stop_token>

namespace headroom::gui {

/// The result of `running`. `stop` is asked for once `given_up` says so; null: never.
template <typename Result>
Result wait_for_worker(QFuture<Result> running, std::stop_source& stop, const std::function<bool()>& given_up) {
  while (!running.isFinished()) {
    if (given_up && given_up()) stop.request_stop();
    QCoreApplication::processEvents(QEventLoop::AllEvents, 20);
    QThread::msleep(1);
  }
  return running.takeResult();
}

}  // namespace headroom::gui
