// SPDX-License-Identifier: GPL-3.0-or-later
// Brings a remote engine's record here, piece by piece, under a temporary name until it is whole. What came before the
// connection was lost stays, and the next transfer of the same file goes on behind it.
#pragma once

#include <QFile>
#include <QObject>
#include <QPointer>
#include <memory>
#include <optional>
#include <string>

#include "base/output_file.h"
#include "gui/engine_client.h"

namespace headroom::gui {

class RecordDownload : public QObject {
  Q_OBJECT
 public:
  /// Deletes itself after its last signal.
  RecordDownload(EngineClient& engine, const QString& remote_path, QObject* parent);
  void start();
  /// The same without what an earlier transfer left.
  void start_anew();
  /// Bytes that an earlier transfer of this file left here; 0 where there is nothing to go on with.
  static qint64 left_here(const EngineClient& engine, const QString& remote_path);
  /// Where records of remote engines are kept.
  static QString folder();
  /// The file there that a far one becomes.
  static QString place_of(const EngineClient& engine, const QString& remote_path);
  /// Takes away what nobody came back for.
  static void clean_up();

 signals:
  void progressed(qint64 done, qint64 total);
  void finished(const QString& local_path);
  void failed(const headroom::gui::Problem& problem);

 private:
  void ask();
  void take(const nlohmann::json& result, const protocol::ErrorInfo* error);
  void give_up(const QString& message, const QString& found = {}, bool keep = false);
  /// Drops what is here; the far file is another one than that was of.
  void begin_anew(const std::string& version);
  /// Opens what an earlier transfer left, or a new file. False where another transfer is at work on it.
  bool open_partial();
  qint64 bytes_here() const;
  void write(const std::vector<std::uint8_t>& data);
  QString commit();

  EngineClient& engine_;
  QString remote_path_, local_path_;
  std::unique_ptr<QFile> partial_;    ///< kept where the connection is lost
  std::optional<OutputPlace> place_;  ///< where another transfer has that: a file that is not
  std::optional<OutputFile> part_;
  bool anew_ = false;
  std::string version_;  ///< of the far file; that of partial_ until the first piece has come
  bool asked_ = false;
};

}  // namespace headroom::gui
