// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/workers.h"

#include <QCoreApplication>
#include <QPointer>
#include <QThread>

namespace headroom::views {
namespace {

// Most of them wait for the file, whose library has one lock; the short question of the read-out must not wait for the
// long one of the missed keys.
constexpr int most_waiting_workers = 16;

}  // namespace

QThreadPool& workers() {
  static QPointer<QThreadPool> pool;
  if (!pool) {
    pool = new QThreadPool(QCoreApplication::instance());
    pool->setMaxThreadCount(most_waiting_workers + QThread::idealThreadCount());
    pool->setThreadPriority(QThread::LowPriority);
  }
  return *pool;
}

}  // namespace headroom::views
