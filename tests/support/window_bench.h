// SPDX-License-Identifier: GPL-3.0-or-later
// A window as tests drive it: its own settings, no engine unless asked for, shown away from the origin.
#pragma once

#include <QCoreApplication>
#include <QDir>
#include <QSize>
#include <QString>
#include <QStringList>
#include <QTemporaryDir>
#include <QTest>

#include "gui/main_window.h"
#include "gui/pages.h"
#include "gui/settings_store.h"

namespace headroom::test {

/// Another settings file at each call: windows of one test share none. Each has a folder, since the session lies beside
/// it.
inline QString fresh_settings(const QTemporaryDir& dir) {
  static int count = 0;
  const QString folder = QString("settings%1").arg(++count);
  QDir(dir.path()).mkpath(folder);
  return dir.filePath(folder + "/settings.ini");
}

struct WindowBench {
  /// Waits until the last of `records` is shown where there is one and `wait` says so.
  WindowBench(const QString& settings_file, const gui::StartOptions& options, QSize size = {}, bool wait = true)
      : settings(settings_file), window(settings, options) {
    window.move(40, 40);
    if (size.isValid()) window.resize(size);
    window.show();
    (void)QTest::qWaitForWindowExposed(&window);
    if (!wait || options.records.isEmpty()) return;
    (void)QTest::qWaitFor([&] { return window.selection().record() != nullptr; }, 10000);
    QCoreApplication::processEvents();
  }
  static gui::StartOptions without_engine(const QStringList& records) {
    gui::StartOptions options;
    options.use_engine = false;
    options.records = records;
    return options;
  }
  const views::ViewState& state() { return window.selection().state(); }
  views::Exportable& view(const QString& name) { return gui::exportable_view(window.pages(), name); }
  template <typename Widget>
  Widget* page(const char* id) {
    return static_cast<Widget*>(window.pages()[gui::page_index(window.pages(), id)].widget);
  }

  gui::SettingsStore settings;
  gui::MainWindow window;
};

}  // namespace headroom::test
