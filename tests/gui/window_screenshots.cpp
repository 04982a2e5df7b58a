// SPDX-License-Identifier: GPL-3.0-or-later
// Pictures of dialogs and messages for people to judge: window_screenshots RUN.h5 FOLDER [light|dark] [ENGINE].
// With an engine it also makes a short run and pictures the Jobs dock.
#include <QApplication>
#include <QDir>
#include <QElapsedTimer>
#include <QTemporaryDir>
#include <QThread>
#include <cstdio>

#include "gui/actions.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "gui/new_run_dialog.h"
#include "gui/window_style.h"

using namespace headroom;
using namespace headroom::gui;

namespace {

void spin(int ms, const std::function<bool()>& until = {}) {
  QElapsedTimer clock;
  clock.start();
  while (clock.elapsed() < ms && !(until && until())) {
    QApplication::processEvents(QEventLoop::AllEvents, 20);
    QThread::msleep(5);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  qputenv("QT_QPA_PLATFORM", "offscreen");
  QApplication::setStyle(new WindowStyle);
  QApplication application(argc, argv);
  QApplication::setApplicationVersion("0.1.0");
  load_resources();
  QTemporaryDir folder;
  qputenv("XDG_DATA_HOME", folder.path().toUtf8());
  SettingsStore settings(folder.filePath("settings.ini"));
  settings.set_theme(argc > 3 && std::string(argv[3]) == "dark" ? views::ThemeMode::dark : views::ThemeMode::light);
  StartOptions options;
  options.records = {argv[1]};
  options.engine = argc > 4 ? argv[4] : "/no/such/engine";
  QDir().mkpath(argv[2]);
  const QString out = QString(argv[2]) + "/";
  MainWindow window(settings, options);
  window.resize(1280, 800);
  window.show();
  spin(8000, [&] {
    return argc > 4 ? window.engine().state() == EngineClient::State::ready
                    : false || window.selection().record() == nullptr;
  });
  window.open_record("/no/such/record.h5");
  spin(600);
  window.grab().save(out + "messages.png");

  const auto picture = [&](QAction* action, const char* name, int wait) {
    action->trigger();
    spin(wait);
    for (QWidget* widget : QApplication::topLevelWidgets()) {
      if (widget->isVisible() && widget->isModal()) {
        widget->grab().save(out + name + ".png");
        widget->close();
      }
    }
    spin(100);
  };
  Actions& actions = window.actions();
  picture(actions.new_run, "new_run", argc > 4 ? 12000 : 500);
  picture(actions.export_figure, "export", 300);
  picture(actions.connect_engine, "connect", 300);
  picture(actions.palette, "palette", 300);
  picture(actions.keys, "keys", 300);
  picture(actions.about, "about", 300);
  actions.present->trigger();
  spin(800);
  window.grab().save(out + "present.png");
  actions.present->trigger();
  window.set_text_scale(200);
  spin(800);
  window.grab().save(out + "text200.png");
  window.set_text_scale(100);

  if (argc > 4) {
    protocol::RunSpec spec;
    spec.model = "smollm2";
    spec.task = "niah_single_1";
    spec.length = 700;
    spec.chat = true;
    spec.repeats = 1;
    spec.methods = {"dense", "oracle", "indexer"};
    spec.budgets = {{BudgetKind::tokens, 128}};
    spec.out = folder.filePath("made.h5").toStdString();
    QElapsedTimer clock;
    clock.start();
    views::JobInfo last;
    QObject::connect(&window.jobs(), &JobTracker::changed, &window, [&](const views::JobInfo& job) { last = job; });
    window.jobs().start_run(spec);
    spin(60000, [&] { return !last.partial.isEmpty() || last.state != views::JobInfo::State::running; });
    window.grab().save(out + "running.png");
    spin(120000, [&] { return last.state != views::JobInfo::State::running; });
    spin(1500);
    window.grab().save(out + "finished.png");
    std::printf("job %s after %lld ms: %s\n", last.state == views::JobInfo::State::done ? "done" : "not done",
                clock.elapsed(), qUtf8Printable(last.message));
  }
  return 0;
}
