// SPDX-License-Identifier: GPL-3.0-or-later
// Notices when the file of an open record is replaced, changed or removed behind the window's back.
#pragma once

#include <QFileSystemWatcher>
#include <QObject>
#include <QTimer>
#include <map>
#include <vector>

#include "views/common/selection.h"

namespace headroom::gui {

class RecordWatch : public QObject {
  Q_OBJECT
 public:
  explicit RecordWatch(QObject* parent = nullptr);
  /// These records are open now.
  void set_records(const std::vector<views::RecordPtr>& records);
  /// Looks at all of them now; where the file system tells nothing (network folders), coming back to the window calls
  /// it.
  void look();

 signals:
  /// Told once for each change of what the file is.
  void changed(const headroom::views::RecordPtr& record, headroom::record::FileChange change);

 private:
  QFileSystemWatcher watcher_;
  QTimer settle_;  ///< a file is replaced in several steps; the last one counts
  std::map<views::RecordPtr, record::FileChange> known_;
};

}  // namespace headroom::gui
