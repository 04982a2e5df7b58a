// SPDX-License-Identifier: GPL-3.0-or-later
// What the tests of talks share: two records of made-up numbers, a window, and a talk of three steps of both.
#pragma once

#include <QApplication>
#include <QDialog>
#include <QDir>
#include <QTemporaryDir>
#include <QtTest>

#include "gui/actions.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "gui/talk_desk.h"
#include "gui/talk_stage.h"
#include "support/synthetic_record.h"
#include "views/talk/talk_panel.h"

namespace headroom::test {

/// A window with its own settings.
struct TalkWindow {
  explicit TalkWindow(const QString& file, const gui::StartOptions& options)
      : settings(file), window(settings, options) {
    window.show();
    (void)QTest::qWaitForWindowExposed(&window);
  }
  gui::SettingsStore settings;
  gui::MainWindow window;
  gui::TalkDesk& talks() { return window.talks(); }
  views::TalkBook& book() { return window.talks().book(); }
  gui::TalkStage& stage() { return window.stage(); }
};

class TalkBench {
 public:
  /// Of records named after what tests do with them. Call it in initTestCase().
  void make() {
    gui::load_resources();
    qputenv("XDG_DATA_HOME", dir_.filePath("data").toUtf8());
    QVERIFY(QDir(dir_.path()).mkdir("runs"));
    SyntheticOptions options{.tokens = 200, .layers = 3};
    for (const QString* file : {&first, &second, &live}) {
      write_synthetic_record(file->toStdString(), options);
      options.seed = options.seed == 2 ? 3 : 2;
    }
  }
  gui::StartOptions with(const QStringList& records) const {
    gui::StartOptions options;
    options.use_engine = false;
    options.records = records;
    options.size = {1100, 650};
    return options;
  }
  QString file(const QString& name) const { return dir_.filePath(name); }
  /// Settings that no other window has.
  QString ini() const {
    static int n = 0;
    return dir_.filePath(QString("settings%1.ini").arg(++n));
  }
  static QWidget* top(const char* name) {
    for (QWidget* widget : QApplication::topLevelWidgets())
      if (widget->objectName() == name && widget->isVisible()) return widget;
    return nullptr;
  }
  static void settle(gui::MainWindow& window) {
    QTRY_VERIFY_WITH_TIMEOUT(window.pages()[window.current_page()].settled(), 20000);
  }
  /// A talk of three steps of two records, saved.
  QString make_talk(TalkWindow& b, const char* name) const {
    [&] {
      QTRY_COMPARE_WITH_TIMEOUT(b.window.selection().state().runs.size(), std::size_t(2), 20000);
      QTRY_VERIFY(b.window.actions().add_to_talk->isEnabled());
      b.window.show_page(1);
      b.window.selection().change([](views::ViewState& s) {
        s.current = 0;
        s.layer = 1;
        s.colour_max = 0.3;
        s.keys = {3, 4};
        s.viewport = {20, 90, 10, 80};
      });
      b.window.actions().add_to_talk->trigger();
      b.window.show_page(2);
      b.window.selection().change([](views::ViewState& s) { s.budget = 40; });
      b.window.actions().add_to_talk->trigger();
      b.window.show_page(4);
      b.window.selection().change([](views::ViewState& s) { s.current = 1; });
      b.window.actions().add_to_talk->trigger();
      b.book().set_text(0, views::StepText::title, "Where the last token looks");
      b.book().set_text(0, views::StepText::caption, "Two keys hold it: </script> and \"they\"");
      b.book().set_text(0, views::StepText::notes, "Breathe.");
      b.talks().save_to(dir_.filePath(name));
      QTRY_VERIFY(!b.book().changed_since_saved());
    }();
    return dir_.filePath(name);
  }

 private:
  QTemporaryDir dir_;

 public:
  const QString first = dir_.filePath("runs/first.h5"), second = dir_.filePath("runs/second.h5"),
                live = dir_.filePath("runs/live.h5");
};

}  // namespace headroom::test
