// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/run_library.h"

#include <QDir>
#include <QFileInfo>
#include <QJsonDocument>
#include <QJsonObject>
#include <QStandardPaths>
#include <algorithm>
#include <exception>

#include "gui/file_names.h"
#include "gui/settings_store.h"
#include "record/run_record.h"
#include "record/sweep/sweep_file.h"
#include "views/common/format.h"

namespace headroom::gui {
namespace {

constexpr int most_files = 500, most_notes = 2000, longest_note = 2000;
constexpr const char* notes_key = "run_notes";

void read_run(LibraryFile& file) {
  const auto run = record::RunRecord::open(path_of(file.path));
  file.model = QString::fromStdString(run->meta().model_name);
  file.length = run->length();
  file.tokens = views::format_count(run->length());
  file.complete = run->meta().complete;
  file.created = QDateTime::fromString(QString::fromStdString(run->meta().created), Qt::ISODate);
  QStringList methods;
  for (const auto& method : run->methods()) methods << QString::fromStdString(method.name);
  methods.removeDuplicates();
  file.methods = methods.join(", ");
}

void read_sweep_file(LibraryFile& file) {
  const record::SweepRecord sweep = record::read_sweep(path_of(file.path));
  file.sweep = true;
  file.model = QString::fromStdString(sweep.meta.model_name);
  file.complete = sweep.meta.complete;
  file.created = QDateTime::fromString(QString::fromStdString(sweep.meta.created), Qt::ISODate);
  QStringList lengths, methods;
  for (const std::int64_t length : sweep.meta.lengths) {
    if (length > 0) lengths << views::format_count(length);
    file.length = std::max<qint64>(file.length, length);
  }
  file.tokens = lengths.isEmpty() ? QObject::tr("own prompts") : lengths.join("; ");
  for (const auto& method : sweep.meta.methods) methods << QString::fromStdString(method.name);
  methods.removeDuplicates();
  file.methods = methods.join(", ");
}

}  // namespace

QVector<LibraryFile> read_library(const QStringList& files) {
  QVector<LibraryFile> library;
  for (const QString& path : files) {
    const QFileInfo info(path);
    if (!info.isFile()) continue;
    LibraryFile file;
    file.path = path;
    file.name = info.completeBaseName();
    file.bytes = info.size();
    file.created = info.lastModified();
    try {
      if (record::is_sweep(path_of(path)))
        read_sweep_file(file);
      else
        read_run(file);
    } catch (const std::exception& error) {
      file.problem = QString::fromUtf8(error.what());
    }
    library.append(file);
  }
  return library;
}

QStringList kept_files() {
  const QString data = QStandardPaths::writableLocation(QStandardPaths::GenericDataLocation) + "/headroom/";
  QFileInfoList found;
  for (const char* folder : {"runs", "sweeps"})
    found += QDir(data + folder).entryInfoList({"*.h5"}, QDir::Files, QDir::Time);
  std::stable_sort(found.begin(), found.end(),
                   [](const QFileInfo& a, const QFileInfo& b) { return a.lastModified() > b.lastModified(); });
  QStringList paths;
  for (const QFileInfo& info : found.mid(0, most_files)) paths << info.absoluteFilePath();
  return paths;
}

RunNotes::RunNotes(SettingsStore& settings) : settings_(settings) {
  const QJsonObject stored = QJsonDocument::fromJson(settings.blob(notes_key)).object();
  for (auto entry = stored.begin(); entry != stored.end() && notes_.size() < most_notes; ++entry)
    notes_[entry.key()] = entry.value().toString().left(longest_note);
}

void RunNotes::set(const QString& path, const QString& note) {
  if (note.trimmed().isEmpty())
    notes_.remove(path);
  else if (notes_.size() < most_notes || notes_.contains(path))
    notes_[path] = note.left(longest_note);
  QJsonObject stored;
  for (auto entry = notes_.begin(); entry != notes_.end(); ++entry) stored[entry.key()] = entry.value();
  settings_.set_blob(notes_key, QJsonDocument(stored).toJson(QJsonDocument::Compact));
}

}  // namespace headroom::gui
