// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/settings_store.h"

#include <QFile>
#include <QFileInfo>
#include <algorithm>

namespace headroom::gui {
namespace {

QString settings_file(const QString& given) {
  if (!given.isEmpty()) return given;
  const QString from_environment = qEnvironmentVariable("HEADROOM_SETTINGS");
  if (!from_environment.isEmpty()) return from_environment;
  return QSettings(QSettings::IniFormat, QSettings::UserScope, "headroom", "headroom-gui").fileName();
}

}  // namespace

SettingsStore::SettingsStore(const QString& file, std::vector<Migration> migrations)
    : settings_(settings_file(file), QSettings::IniFormat) {
  migrate(migrations);
}

std::vector<SettingsStore::Migration> SettingsStore::default_migrations() {
  return {
      // 0 → 1: a fresh file, nothing to bring forward.
      [](QSettings&) {},
      // 1 → 2: the theme was a switch, it became a name.
      [](QSettings& settings) {
        if (settings.contains("dark")) settings.setValue("theme", settings.value("dark").toBool() ? "dark" : "light");
        settings.remove("dark");
      },
  };
}

void SettingsStore::migrate(const std::vector<Migration>& migrations) {
  const int target = static_cast<int>(migrations.size());
  int current = std::max(settings_.value("version", 0).toInt(), 0);
  if (current > target) {
    settings_.sync();
    const QString aside = QString("%1.v%2").arg(settings_.fileName()).arg(current);
    QFile::remove(aside);
    QFile::copy(settings_.fileName(), aside);
    settings_.clear();
    current = 0;
  }
  for (; current < target; ++current) {
    migrations[static_cast<std::size_t>(current)](settings_);
    settings_.setValue("version", current + 1);
  }
  settings_.setValue("version", target);
}

int SettingsStore::version() const {
  return settings_.value("version", 0).toInt();
}

views::ThemeMode SettingsStore::theme() const {
  return settings_.value("theme").toString() == "dark" ? views::ThemeMode::dark : views::ThemeMode::light;
}
void SettingsStore::set_theme(views::ThemeMode mode) {
  settings_.setValue("theme", mode == views::ThemeMode::dark ? "dark" : "light");
}

int SettingsStore::text_scale() const {
  return std::clamp(settings_.value("text_scale", 100).toInt(), 75, 200);
}
void SettingsStore::set_text_scale(int percent) {
  settings_.setValue("text_scale", std::clamp(percent, 75, 200));
}

QStringList SettingsStore::recent_files() const {
  return settings_.value("recent").toStringList().mid(0, 10);
}
void SettingsStore::add_recent_file(const QString& path) {
  const QString absolute = QFileInfo(path).absoluteFilePath();
  QStringList files = recent_files();
  files.removeAll(absolute);
  files.prepend(absolute);
  settings_.setValue("recent", files.mid(0, 10));
}

QString SettingsStore::last_record() const {
  return settings_.value("last_record").toString();
}
void SettingsStore::set_last_record(const QString& path) {
  settings_.setValue("last_record", path.isEmpty() ? path : QFileInfo(path).absoluteFilePath());
}

EngineSettings SettingsStore::engine() const {
  EngineSettings engine;
  engine.remote = settings_.value("engine/remote", false).toBool();
  engine.program = settings_.value("engine/program").toString();
  engine.host = settings_.value("engine/host").toString();
  engine.remote_path = settings_.value("engine/remote_path").toString();
  engine.options = settings_.value("engine/options").toStringList();
  return engine;
}
void SettingsStore::set_engine(const EngineSettings& engine) {
  settings_.setValue("engine/remote", engine.remote);
  settings_.setValue("engine/program", engine.program);
  settings_.setValue("engine/host", engine.host);
  settings_.setValue("engine/remote_path", engine.remote_path);
  settings_.setValue("engine/options", engine.options);
}

bool SettingsStore::engine_left() const {
  return settings_.value("engine/left_with_jobs", false).toBool();
}
void SettingsStore::set_engine_left(bool left) {
  settings_.setValue("engine/left_with_jobs", left);
}

bool SettingsStore::dismissed(const QString& notice) const {
  return settings_.value("dismissed/" + notice).toBool();
}
void SettingsStore::dismiss(const QString& notice) {
  settings_.setValue("dismissed/" + notice, true);
}
void SettingsStore::restore_notices() {
  settings_.remove("dismissed");
}

SettingsStore::ExportChoices SettingsStore::export_choices() const {
  ExportChoices choices;
  choices.format = std::clamp(settings_.value("export/format", 0).toInt(), 0, 3);
  choices.preset = settings_.value("export/preset", choices.preset).toString();
  choices.scale = std::clamp(settings_.value("export/scale", 2).toInt(), 1, 4);
  choices.caption = settings_.value("export/caption", true).toBool();
  choices.folder = settings_.value("export/folder").toString();
  return choices;
}
void SettingsStore::set_export_choices(const ExportChoices& choices) {
  settings_.setValue("export/format", choices.format);
  settings_.setValue("export/preset", choices.preset);
  settings_.setValue("export/scale", choices.scale);
  settings_.setValue("export/caption", choices.caption);
  settings_.setValue("export/folder", choices.folder);
}

QByteArray SettingsStore::blob(const QString& key) const {
  return settings_.value("layout/" + key).toByteArray();
}
void SettingsStore::set_blob(const QString& key, const QByteArray& value) {
  if (value.isEmpty()) {
    settings_.remove("layout/" + key);
  } else {
    settings_.setValue("layout/" + key, value);
  }
}

QString SettingsStore::last_spec() const {
  return settings_.value("last_spec").toString();
}
void SettingsStore::set_last_spec(const QString& json) {
  // A pasted prompt may be long; settings are no place for megabytes.
  settings_.setValue("last_spec", json.size() > 65536 ? QString() : json);
}

}  // namespace headroom::gui
