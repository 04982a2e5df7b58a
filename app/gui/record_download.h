// SPDX-License-Identifier: GPL-3.0-or-later
// Brings a remote engine's record here, piece by piece, under a temporary name until it is whole.
#pragma once

#include <QObject>
#include <QPointer>
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
  /// Where records of remote engines are kept.
  static QString folder();

 signals:
  void progressed(qint64 done, qint64 total);
  void finished(const QString& local_path);
  void failed(const headroom::gui::Problem& problem);

 private:
  void ask();
  void take(const nlohmann::json& result, const protocol::ErrorInfo* error);
  void give_up(const QString& message, const QString& found = {});

  EngineClient& engine_;
  QString remote_path_, local_path_;
  std::optional<OutputPlace> place_;
  std::optional<OutputFile> part_;
  std::string version_;
};

}  // namespace headroom::gui
