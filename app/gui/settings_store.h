// SPDX-License-Identifier: GPL-3.0-or-later
// What the window remembers between sessions: versioned, brought forward step by step, bounded.
#pragma once

#include <QByteArray>
#include <QSettings>
#include <QString>
#include <QStringList>
#include <functional>
#include <vector>

#include "views/common/theme.h"

namespace headroom::gui {

/// How the engine is reached.
struct EngineSettings {
  bool remote = false;
  QString program;      ///< local: path of `headroom`; empty = beside the window's executable
  QString host;         ///< remote: what ssh is told, e.g. "user@host"
  QString remote_path;  ///< remote: path of `headroom` there
  QStringList options;  ///< remote: options of ssh, e.g. "-p", "2222"
  bool operator==(const EngineSettings&) const = default;
};

class SettingsStore {
 public:
  /// Brings settings from version i to i + 1, where i is its index.
  using Migration = std::function<void(QSettings&)>;

  /// `file` empty: the user's own (an INI file in the standard place, or HEADROOM_SETTINGS). Settings of a newer
  /// program are set aside as FILE.v<N>, never overwritten.
  explicit SettingsStore(const QString& file = {}, std::vector<Migration> migrations = default_migrations());

  static std::vector<Migration> default_migrations();
  int version() const;
  QString file() const { return settings_.fileName(); }

  views::ThemeMode theme() const;
  void set_theme(views::ThemeMode mode);
  int text_scale() const;  ///< percent, 75 to 200
  void set_text_scale(int percent);
  QStringList recent_files() const;  ///< newest first, at most 10
  void add_recent_file(const QString& path);
  QString last_record() const;
  void set_last_record(const QString& path);
  EngineSettings engine() const;
  void set_engine(const EngineSettings& engine);
  /// A local engine was left with jobs: the next window comes back to it.
  bool engine_left() const;
  void set_engine_left(bool left);
  bool dismissed(const QString& notice) const;
  void dismiss(const QString& notice);
  void restore_notices();
  /// What the Export dialog was last left at.
  struct ExportChoices {
    int format = 0;
    QString preset = QStringLiteral("screen");
    int scale = 2;
    bool caption = true;
    QString folder;
  };
  ExportChoices export_choices() const;
  void set_export_choices(const ExportChoices& choices);
  QByteArray blob(const QString& key) const;
  void set_blob(const QString& key, const QByteArray& value);
  /// JSON text of the last run that was asked for; empty if none.
  QString last_spec() const;
  void set_last_spec(const QString& json);
  void sync() { settings_.sync(); }

 private:
  void migrate(const std::vector<Migration>& migrations);
  QSettings settings_;
};

}  // namespace headroom::gui
