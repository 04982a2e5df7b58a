// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/record_watch.h"

#include <QStringList>
#include <algorithm>
#include <filesystem>

namespace headroom::gui {
namespace {

constexpr int settle_ms = 200;

/// The folder, where a name comes and goes, and the file itself, which may be written into. Names that Qt cannot hold
/// are looked at when the window is come back to.
QStringList watched_paths(const views::RecordPtr& record) {
  std::error_code failed;
  const auto file = std::filesystem::absolute(record->path(), failed);
  return {QString::fromStdString(file.parent_path().native()), QString::fromStdString(file.native())};
}

}  // namespace

RecordWatch::RecordWatch(QObject* parent) : QObject(parent) {
  settle_.setSingleShot(true);
  settle_.setInterval(settle_ms);
  connect(&settle_, &QTimer::timeout, this, &RecordWatch::look);
  const auto later = [this] { settle_.start(); };
  connect(&watcher_, &QFileSystemWatcher::directoryChanged, this, later);
  connect(&watcher_, &QFileSystemWatcher::fileChanged, this, later);
}

void RecordWatch::set_records(const std::vector<views::RecordPtr>& records) {
  std::map<views::RecordPtr, record::FileChange> open;
  QStringList wanted;
  for (const views::RecordPtr& record : records) {
    const auto known = known_.find(record);
    open[record] = known == known_.end() ? record::FileChange::none : known->second;
    wanted << watched_paths(record);
  }
  known_ = std::move(open);
  wanted.removeDuplicates();
  const QStringList now = watcher_.files() + watcher_.directories();
  for (const QString& path : now)
    if (!wanted.contains(path)) watcher_.removePath(path);
  for (const QString& path : wanted)
    if (!now.contains(path)) watcher_.addPath(path);
  settle_.start();  // what happened while it was being opened
}

void RecordWatch::look() {
  // A copy: who is told may open and close records.
  const auto open = known_;
  for (const auto& [record, before] : open) {
    const auto change = record->file_change();
    if (change == before) continue;
    if (const auto known = known_.find(record); known != known_.end()) known->second = change;
    // The watcher forgets a file that went away.
    for (const QString& path : watched_paths(record))
      if (!watcher_.files().contains(path) && !watcher_.directories().contains(path)) watcher_.addPath(path);
    emit changed(record, change);
  }
}

}  // namespace headroom::gui
