// SPDX-License-Identifier: GPL-3.0-or-later
// What is known of record and sweep files without opening them for looking at: read by a worker for the table of runs.
#pragma once

#include <QDateTime>
#include <QHash>
#include <QString>
#include <QStringList>
#include <QVector>

namespace headroom::gui {

class SettingsStore;

struct LibraryFile {
  QString path, name;  ///< name: without folder and ending
  bool sweep = false, complete = true;
  QString model, tokens, methods;  ///< in words
  qint64 length = 0;               ///< tokens of a run's prompt, of a sweep the longest
  QDateTime created;
  qint64 bytes = 0;
  QString problem;  ///< why it cannot be read; empty where it can
};

/// The files, in their order; those that are gone are left out. For workers.
QVector<LibraryFile> read_library(const QStringList& files);
/// Records and sweeps of the folders that the window writes into, newest first, at most 500.
QStringList kept_files();

/// Notes on files, kept in the settings: records do not change.
class RunNotes {
 public:
  explicit RunNotes(SettingsStore& settings);
  QString of(const QString& path) const { return notes_.value(path); }
  void set(const QString& path, const QString& note);

 private:
  SettingsStore& settings_;
  QHash<QString, QString> notes_;
};

}  // namespace headroom::gui
