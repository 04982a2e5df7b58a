// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/record_download.h"

#include <QCryptographicHash>
#include <QDir>
#include <QFile>
#include <QFileInfo>

#include "base/error.h"
#include "base/paths.h"

namespace headroom::gui {
namespace {

// Small enough that decoding one is not felt in the window.
constexpr std::int64_t piece_bytes = 1 << 20;
constexpr std::int64_t max_record_bytes = std::int64_t{64} << 30;

}  // namespace

QString RecordDownload::folder() {
  return QString::fromStdString((cache_folder() / "records").string());
}

RecordDownload::RecordDownload(EngineClient& engine, const QString& remote_path, QObject* parent)
    : QObject(parent), engine_(engine), remote_path_(remote_path) {
  // The far path decides nothing but a checked file name here.
  QString name = QFileInfo(remote_path).completeBaseName().left(80);
  for (QChar& c : name) {
    if (!c.isLetterOrNumber() && c != '-' && c != '_') c = '_';
  }
  const QByteArray tag =
      QCryptographicHash::hash((engine.command().arguments.join('\n') + remote_path).toUtf8(), QCryptographicHash::Sha1)
          .toHex()
          .left(8);
  local_path_ = folder() + "/" + name + "-" + QString::fromLatin1(tag) + ".h5";
}

void RecordDownload::start() {
  QDir().mkpath(folder());
  try {
    place_.emplace(QFile::encodeName(local_path_).toStdString(), OutputKind::file);
    part_.emplace(*place_);
  } catch (const Error& error) {
    return give_up(tr("The record's copy cannot be written"), QString::fromUtf8(error.what()));
  }
  ask();
}

void RecordDownload::ask() {
  protocol::RecordChunkParams params;
  params.path = remote_path_.toStdString();
  params.offset = part_->bytes();
  params.bytes = piece_bytes;
  engine_.request(
      protocol::method::record_chunk, protocol::to_json(params),
      [self = QPointer<RecordDownload>(this)](const nlohmann::json& result, const protocol::ErrorInfo* error) {
        if (self) self->take(result, error);
      });
}

void RecordDownload::take(const nlohmann::json& result, const protocol::ErrorInfo* error) {
  if (error) return give_up(tr("The record could not be transferred"), QString::fromStdString(error->line()));
  protocol::RecordChunkResult chunk;
  try {
    chunk = protocol::record_chunk_result_from_json(result);
  } catch (const Error& bad) {
    return give_up(tr("The record could not be transferred"), QString::fromUtf8(bad.what()));
  }
  if (chunk.total_bytes > max_record_bytes) return give_up(tr("The record is too large to transfer"));
  if (!version_.empty() && chunk.version != version_) return give_up(tr("The record changed while it was transferred"));
  version_ = chunk.version;
  const auto bytes = static_cast<qint64>(chunk.data.size());
  if (chunk.offset != part_->bytes() || chunk.offset + bytes > chunk.total_bytes ||
      (bytes == 0 && chunk.offset < chunk.total_bytes)) {
    return give_up(tr("The record's pieces do not fit together"));
  }
  try {
    part_->write(chunk.data);
    emit progressed(part_->bytes(), chunk.total_bytes);
    if (part_->bytes() < chunk.total_bytes) return ask();
    local_path_ = QFile::decodeName(part_->commit().c_str());
  } catch (const Error& full) {
    return give_up(tr("The record's copy cannot be written"), QString::fromUtf8(full.what()));
  }
  emit finished(local_path_);
  deleteLater();
}

void RecordDownload::give_up(const QString& message, const QString& found) {
  part_.reset();
  emit failed({message, remote_path_, {}, found});
  deleteLater();
}

}  // namespace headroom::gui
