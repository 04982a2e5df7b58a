// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/store_mirror.h"

#include <QDir>
#include <QPointer>

#include "base/error.h"
#include "gui/record_download.h"

namespace headroom::gui {
namespace {

constexpr std::int64_t store_piece_bytes = 1 << 20;
constexpr std::int64_t most_mirrored_bytes = std::int64_t{1} << 30;  // more rows than a page can show
const QString store_ending = QStringLiteral(".rows.jsonl");

}  // namespace

void StoreMirror::row_finished(const QString& far_store) {
  if (!far_store.endsWith(store_ending)) return;
  const QString record = RecordDownload::place_of(engine_, far_store.chopped(store_ending.size()));
  Copy& copy = copies_[far_store];
  if (copy.record != record || !copy.file) {  // the first row, or the same path on another machine
    QDir().mkpath(RecordDownload::folder());
    RecordDownload::clean_up();
    copy = {record, std::make_unique<QFile>(record + store_ending), {}, false, false};
    if (!copy.file->open(QIODevice::ReadWrite | QIODevice::Truncate)) {
      copies_.erase(far_store);  // no room: the file itself will say so when it comes
      return;
    }
  }
  if (copy.asked) {
    copy.again = true;
    return;
  }
  ask(far_store);
}

void StoreMirror::ended(const QString& record) {
  std::erase_if(copies_, [&](const auto& entry) {
    if (entry.second.record != record) return false;
    if (entry.second.file) entry.second.file->remove();
    return true;
  });
}

void StoreMirror::ask(const QString& far_store) {
  Copy& copy = copies_.at(far_store);
  copy.asked = true;
  copy.again = false;
  protocol::RecordChunkParams params;
  params.path = far_store.toStdString();
  params.offset = copy.file->size();
  params.bytes = store_piece_bytes;
  engine_.request(protocol::method::record_chunk, protocol::to_json(params),
                  [self = QPointer<StoreMirror>(this), far_store](const nlohmann::json& result,
                                                                  const protocol::ErrorInfo* error) {
                    if (self) self->take(far_store, result, error);
                  });
}

void StoreMirror::take(const QString& far_store, const nlohmann::json& result, const protocol::ErrorInfo* error) {
  const auto found = copies_.find(far_store);
  if (found == copies_.end() || !found->second.asked) return;
  Copy& copy = found->second;
  copy.asked = false;
  // What goes wrong here is tried again with the next row: the job itself says what is wrong with it.
  if (error) return;
  protocol::RecordChunkResult chunk;
  try {
    chunk = protocol::record_chunk_result_from_json(result);
  } catch (const Error&) {
    return;
  }
  if (chunk.version != copy.version) {
    const bool had_begun = copy.file->size() > 0;
    copy.version = chunk.version;
    if (had_begun && !copy.file->resize(0)) return;
    if (had_begun) return ask(far_store);
  }
  const auto bytes = static_cast<qint64>(chunk.data.size());
  const bool fits = chunk.offset == copy.file->size() && chunk.total_bytes <= most_mirrored_bytes &&
                    chunk.offset + bytes <= chunk.total_bytes;
  if (!fits || !copy.file->seek(chunk.offset)) return;
  if (copy.file->write(reinterpret_cast<const char*>(chunk.data.data()), bytes) != bytes || !copy.file->flush()) return;
  if (bytes > 0 && copy.file->size() < chunk.total_bytes) return ask(far_store);
  const bool again = copy.again;
  const QString record = copy.record;
  if (again) ask(far_store);
  emit grown(record);
}

}  // namespace headroom::gui
