// SPDX-License-Identifier: GPL-3.0-or-later
// Reads the store of a sweep at work again as its rows come in, on a thread of its own and never faster than the window
// can follow.
#pragma once

#include <QElapsedTimer>
#include <QFutureWatcher>
#include <QObject>
#include <QTimer>
#include <set>

#include "views/common/open_sweep.h"

namespace headroom::gui {

class SweepFollower : public QObject {
  Q_OBJECT
 public:
  explicit SweepFollower(QObject* parent = nullptr);
  ~SweepFollower() override;

  /// A row of the sweep whose file will be `path` is on this machine's disk.
  void row_finished(const QString& path);
  /// No more rows come: what is being read is dropped.
  void ended(const QString& path);

 signals:
  void grown(headroom::views::SweepPtr sweep);

 private:
  void read_next();

  QFutureWatcher<views::SweepPtr> reading_;
  QTimer pause_;
  QElapsedTimer took_;
  QString at_work_;
  std::set<QString> waiting_;
};

}  // namespace headroom::gui
