// SPDX-License-Identifier: GPL-3.0-or-later
// How long the event loop was busy at a stretch: what a key press would have had to wait.
#pragma once

#include <QElapsedTimer>
#include <QObject>
#include <QTimer>

namespace headroom::gui {

class LoopWatch : public QObject {
  Q_OBJECT
 public:
  explicit LoopWatch(QObject* parent = nullptr);
  void reset();
  /// The longest wait since reset(), ms; with the processor time that this thread took in it, which another program's
  /// load does not lengthen.
  double worst_ms() const { return worst_ms_; }
  double worst_own_ms() const { return worst_own_ms_; }

 private:
  void beat();
  QTimer timer_;
  QElapsedTimer since_;
  double own_since_ms_ = 0, worst_ms_ = 0, worst_own_ms_ = 0;
};

}  // namespace headroom::gui
