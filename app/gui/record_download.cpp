// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/record_download.h"

#include <sys/file.h>
#include <unistd.h>

#include <QCryptographicHash>
#include <QDateTime>
#include <QDir>
#include <QFile>
#include <QFileInfo>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/paths.h"

namespace headroom::gui {
namespace {

// Small enough that decoding one is not felt in the window.
constexpr std::int64_t piece_bytes = 1 << 20;
constexpr std::int64_t max_record_bytes = std::int64_t{64} << 30;
constexpr int days_kept = 14;  // of a transfer that was not finished

}  // namespace

QString RecordDownload::folder() {
  return QString::fromStdString((cache_folder() / "records").string());
}

QString RecordDownload::place_of(const EngineClient& engine, const QString& remote_path) {
  // The far path decides nothing but a checked file name here.
  QString name = QFileInfo(remote_path).completeBaseName().left(80);
  for (QChar& c : name) {
    if (!c.isLetterOrNumber() && c != '-' && c != '_') c = '_';
  }
  const QByteArray tag =
      QCryptographicHash::hash((engine.command().arguments.join('\n') + remote_path).toUtf8(), QCryptographicHash::Sha1)
          .toHex()
          .left(8);
  return folder() + "/" + name + "-" + QString::fromLatin1(tag) + ".h5";
}

RecordDownload::RecordDownload(EngineClient& engine, const QString& remote_path, QObject* parent)
    : QObject(parent), engine_(engine), remote_path_(remote_path), local_path_(place_of(engine, remote_path)) {}

void RecordDownload::clean_up() {
  const QDateTime old = QDateTime::currentDateTime().addDays(-days_kept);
  for (const QFileInfo& file : QDir(folder()).entryInfoList({"*.partial", "*.partial-of", "*.rows.jsonl"}, QDir::Files))
    if (file.lastModified() < old) QFile::remove(file.filePath());
}

bool RecordDownload::open_partial() {
  clean_up();
  auto file = std::make_unique<QFile>(local_path_ + ".partial");
  if (!file->open(QIODevice::ReadWrite)) {
    throw Error(ErrorKind::device, "cannot be written",
                {QFile::encodeName(file->fileName()).toStdString(), {}, file->errorString().toStdString()});
  }
  if (::flock(file->handle(), LOCK_EX | LOCK_NB) != 0) return false;
  QFile of(local_path_ + ".partial-of");
  if (of.open(QIODevice::ReadOnly)) version_ = of.read(256).toStdString();
  if (anew_) version_.clear();
  if (version_.empty()) file->resize(0);
  file->seek(file->size());
  partial_ = std::move(file);
  return true;
}

qint64 RecordDownload::bytes_here() const {
  return partial_ ? partial_->pos() : part_->bytes();
}

void RecordDownload::write(const std::vector<std::uint8_t>& data) {
  if (!partial_) return part_->write(data);
  const auto size = static_cast<qint64>(data.size());
  if (partial_->write(reinterpret_cast<const char*>(data.data()), size) != size || !partial_->flush())
    throw Error(ErrorKind::device, "cannot be written whole",
                {QFile::encodeName(partial_->fileName()).toStdString(), {}, partial_->errorString().toStdString()});
}

QString RecordDownload::commit() {
  if (!partial_) return QFile::decodeName(part_->commit().c_str());
  const QByteArray from = QFile::encodeName(partial_->fileName()), to = QFile::encodeName(local_path_);
  ::fsync(partial_->handle());
  if (std::rename(from.constData(), to.constData()) != 0)
    throw Error(ErrorKind::device, "cannot be put in its place", {to.toStdString(), {}, std::strerror(errno)});
  QFile::remove(local_path_ + ".partial-of");
  partial_.reset();
  return local_path_;
}

qint64 RecordDownload::left_here(const EngineClient& engine, const QString& remote_path) {
  const QString place = place_of(engine, remote_path);
  return QFileInfo::exists(place + ".partial-of") ? QFileInfo(place + ".partial").size() : 0;
}

void RecordDownload::start_anew() {
  anew_ = true;
  start();
}

void RecordDownload::start() {
  QDir().mkpath(folder());
  try {
    if (!open_partial()) {
      place_.emplace(QFile::encodeName(local_path_).toStdString(), OutputKind::file);
      part_.emplace(*place_);
    }
  } catch (const Error& error) {
    return give_up(tr("The record's copy cannot be written"), QString::fromUtf8(error.what()));
  }
  ask();
}

void RecordDownload::ask() {
  protocol::RecordChunkParams params;
  params.path = remote_path_.toStdString();
  params.offset = bytes_here();
  params.bytes = piece_bytes;
  engine_.request(
      protocol::method::record_chunk, protocol::to_json(params),
      [self = QPointer<RecordDownload>(this)](const nlohmann::json& result, const protocol::ErrorInfo* error) {
        if (self) self->take(result, error);
      });
}

void RecordDownload::take(const nlohmann::json& result, const protocol::ErrorInfo* error) {
  const bool first = !std::exchange(asked_, true);
  if (error) {
    // The far file may have been replaced by a shorter one: then it is fetched from its beginning.
    if (first && partial_ && partial_->pos() > 0 && error->code == static_cast<int>(ErrorKind::input)) {
      begin_anew({});
      return ask();
    }
    const bool lost = error->code == static_cast<int>(ErrorKind::device);
    return give_up(tr("The record could not be transferred"), QString::fromStdString(error->line()), lost);
  }
  protocol::RecordChunkResult chunk;
  try {
    chunk = protocol::record_chunk_result_from_json(result);
  } catch (const Error& bad) {
    return give_up(tr("The record could not be transferred"), QString::fromUtf8(bad.what()));
  }
  if (chunk.total_bytes > max_record_bytes) return give_up(tr("The record is too large to transfer"));
  if (chunk.version != version_) {
    const bool had_begun = bytes_here() > 0;
    if (!first) return give_up(tr("The record changed while it was transferred"));
    begin_anew(chunk.version);
    if (had_begun) return ask();
  }
  const auto bytes = static_cast<qint64>(chunk.data.size());
  if (chunk.offset != bytes_here() || chunk.offset + bytes > chunk.total_bytes ||
      (bytes == 0 && chunk.offset < chunk.total_bytes)) {
    return give_up(tr("The record's pieces do not fit together"));
  }
  try {
    write(chunk.data);
    emit progressed(bytes_here(), chunk.total_bytes);
    if (bytes_here() < chunk.total_bytes) return ask();
    local_path_ = commit();
  } catch (const Error& full) {
    return give_up(tr("The record's copy cannot be written"), QString::fromUtf8(full.what()));
  }
  emit finished(local_path_);
  deleteLater();
}

void RecordDownload::begin_anew(const std::string& version) {
  version_ = version;
  if (!partial_) return;
  partial_->resize(0);
  partial_->seek(0);
  QFile of(local_path_ + ".partial-of");
  if (version.empty())
    of.remove();
  else if (of.open(QIODevice::WriteOnly | QIODevice::Truncate))
    of.write(version.data(), static_cast<qint64>(version.size()));
}

void RecordDownload::give_up(const QString& message, const QString& found, bool keep) {
  part_.reset();
  if (partial_ && (!keep || partial_->size() == 0)) {
    partial_->remove();
    QFile::remove(local_path_ + ".partial-of");
  }
  partial_.reset();
  emit failed({message, remote_path_, {}, found});
  deleteLater();
}

}  // namespace headroom::gui
