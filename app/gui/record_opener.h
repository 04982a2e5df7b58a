// SPDX-License-Identifier: GPL-3.0-or-later
// Opens records, sweeps and bench results on a thread of its own, so that a slow disk or a damaged file never holds up
// the window.
#pragma once

#include <QObject>
#include <QThreadPool>

#include "views/common/selection.h"

namespace headroom::gui {

/// An error as the window shows it.
struct Problem {
  QString message;
  QString place, expected, found;  ///< may be empty
  /// "expected …, found …"; empty where neither is known.
  QString reason() const;
  /// Every field on a line of its own, to copy.
  QString details() const;
};

class RecordOpener : public QObject {
  Q_OBJECT
 public:
  explicit RecordOpener(QObject* parent = nullptr);
  ~RecordOpener() override;
  /// Ends in exactly one of the signals, in the order of the calls.
  void open(const QString& path);
  bool busy() const { return pending_ > 0; }

 signals:
  /// `layer`: where retrieval shows; -1 where that is not known.
  void opened(const QString& path, headroom::views::RecordPtr record, int layer);
  /// The file holds a sweep.
  void sweep_opened(const QString& path, headroom::views::SweepPtr sweep);
  /// The file is an answer of `headroom bench --json`.
  void bench_opened(const QString& path, headroom::views::BenchPtr bench);
  void failed(const QString& path, headroom::gui::Problem problem);

 private:
  QThreadPool pool_;
  int pending_ = 0;
};

}  // namespace headroom::gui
