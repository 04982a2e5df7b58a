// SPDX-License-Identifier: GPL-3.0-or-later
// The rows of a sweep that works elsewhere: brings what its store has more of over, each time that a row is finished
// there, so that the Budget page grows as it does for a sweep on this machine.
#pragma once

#include <QFile>
#include <QObject>
#include <map>
#include <memory>
#include <string>

#include "gui/engine_client.h"

namespace headroom::gui {

class StoreMirror : public QObject {
  Q_OBJECT
 public:
  explicit StoreMirror(EngineClient& engine, QObject* parent = nullptr) : QObject(parent), engine_(engine) {}

  /// A sweep of this engine has finished a row; `far_store`: its store ("S.h5.rows.jsonl"), a path where it runs.
  void row_finished(const QString& far_store);
  /// A sweep of this path has finished rows there since this window has listened.
  bool knows(const QString& far_store) const { return copies_.contains(far_store); }
  /// The sweep's file is here, where place_of() says: its store is not needed any more.
  void ended(const QString& record);

 signals:
  /// The store beside `record` has more rows. That file comes, there, when the sweep is done.
  void grown(const QString& record);

 private:
  struct Copy {
    QString record;  ///< here
    std::unique_ptr<QFile> file;
    std::string version;
    bool asked = false, again = false;
  };
  void ask(const QString& far_store);
  void take(const QString& far_store, const nlohmann::json& result, const protocol::ErrorInfo* error);
  EngineClient& engine_;
  std::map<QString, Copy> copies_;  ///< by the far path
};

}  // namespace headroom::gui
