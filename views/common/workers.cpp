// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/common/workers.h"

#include <QCoreApplication>
#include <QPointer>
#include <QThread>

#ifdef Q_OS_LINUX
#include <sys/resource.h>
#include <unistd.h>
#endif

namespace headroom::views {
namespace {

// Most of them wait for the file, whose library has one lock; the short question of the read-out must not wait for the
// long one of the missed keys.
constexpr int most_waiting_workers = 16;

constexpr int niceness = 10;

}  // namespace

void give_way_to_window() {
#ifdef Q_OS_LINUX
  // Linux keeps it for each thread. A refusal is no loss.
  thread_local const bool gave = ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), niceness) == 0;
  static_cast<void>(gave);
#endif
}

QThreadPool& workers() {
  static QPointer<QThreadPool> pool;
  if (!pool) {
    pool = new QThreadPool(QCoreApplication::instance());
    pool->setMaxThreadCount(most_waiting_workers + QThread::idealThreadCount());
  }
  return *pool;
}

}  // namespace headroom::views
