// SPDX-License-Identifier: GPL-3.0-or-later
// What was looked at, in a file beside the settings: records, sweeps, bench results, page, place. Written on a thread
// of its own and renamed when whole; read once, and never trusted.
#pragma once

#include <QString>
#include <QThreadPool>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "views/common/selection.h"

namespace headroom::gui {

struct SessionRecord {
  std::filesystem::path file;
  std::string run_id;  ///< which run it held
};

struct Session {
  std::vector<SessionRecord> records;
  int shown = -1;        ///< of `records`; -1: none
  std::vector<std::filesystem::path> sweeps;
  std::vector<std::filesystem::path> benches;
  int bench = -1;        ///< of `benches`, the one on the Timing page; -1: the run
  std::string page;      ///< Page::id
  nlohmann::json state;  ///< view_state_json; its records are numbers of `records`
};

Session session_of(const views::ViewState& state, const QString& page);
nlohmann::json session_to_json(const Session& session);
/// Throws input errors at `place` that name the field, what was expected and what was found.
Session session_from_json(const nlohmann::json& json, const std::string& place);

class SessionStore {
 public:
  static constexpr int version = 1;

  /// Of the window whose settings are `settings_file`.
  explicit SessionStore(const QString& settings_file);
  ~SessionStore();
  QString file() const { return file_; }

  /// None where there is no file. Throws input errors: a damaged one stays where it is until the next write, one of a
  /// newer program is set aside as FILE.v<N>.
  std::optional<Session> read() const;
  /// Later, without holding up the window; what cannot be written is not, and the last file stays.
  void write(const Session& session);
  /// Until what write() was given is on the disk.
  void finish();

 private:
  QString file_;
  QThreadPool writer_;
};

}  // namespace headroom::gui
