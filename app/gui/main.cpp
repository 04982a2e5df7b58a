// SPDX-License-Identifier: GPL-3.0-or-later
// `headroom-gui`: the window, or pictures of it without a display.
#include <malloc.h>

#include <QApplication>
#include <QHashFunctions>
#include <QLocale>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "gui/askpass.h"
#include "gui/file_names.h"
#include "gui/icons.h"
#include "gui/main_window.h"
#include "gui/measure_driver.h"
#include "gui/render_driver.h"
#include "gui/talk_driver.h"
#include "gui/window_style.h"
#include "views/common/format.h"

namespace {

/// While the platform starts: its one fatal message is that the display cannot be opened, the others are not for users.
void starting(QtMsgType type, const QMessageLogContext&, const QString&) {
  if (type != QtFatalMsg) return;
  std::fprintf(stderr, "headroom-gui: the display cannot be opened; `headroom export` draws pictures without one\n");
  std::_Exit(4);
}

QtMessageHandler usual_messages = nullptr;

/// Without a display: what its absence makes impossible is no news.
void drawing(QtMsgType type, const QMessageLogContext& context, const QString& text) {
  if (text.contains(QLatin1String("propagateSizeHints"))) return;
  usual_messages(type, context, text);
}

/// A picture depends on the record and the command line, not on the screen and the style that one works with.
void forget_screen() {
  for (const char* name :
       {"QT_SCALE_FACTOR", "QT_SCREEN_SCALE_FACTORS", "QT_ENABLE_HIGHDPI_SCALING", "QT_FONT_DPI",
        "QT_AUTO_SCREEN_SCALE_FACTOR", "QT_USE_PHYSICAL_DPI", "QT_STYLE_OVERRIDE", "QT_QPA_PLATFORMTHEME"})
    qunsetenv(name);
  qputenv("QT_QPA_PLATFORM", "offscreen");
}

}  // namespace

int main(int argc, char** argv) {
  // Tiles, rows and pictures come and go in many threads: what is freed goes back, in place of lying about in a heap of
  // each thread. (The thresholds would otherwise grow with the first large picture.)
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 4 << 20);
  ::mallopt(M_ARENA_MAX, 4);
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error with a sentence
  using headroom::gui::CommandLine;
  QStringList arguments;
  for (int i = 1; i < argc; ++i) arguments << headroom::gui::name_from_bytes(argv[i]);
  if (headroom::gui::is_askpass()) {
    qInstallMessageHandler(starting);
    QApplication application(argc, argv);
    qInstallMessageHandler(nullptr);
    return headroom::gui::run_askpass(arguments.join(' '));
  }
  const CommandLine line = headroom::gui::read_command_line(arguments);
  if (!line.problem.isEmpty()) {
    std::fprintf(stderr, "headroom-gui: %s\n%s\n", qUtf8Printable(line.problem),
                 qUtf8Printable(headroom::gui::usage()));
    return 2;
  }
  if (line.mode == CommandLine::Mode::help || line.mode == CommandLine::Mode::version) {
    std::printf("%s\n",
                line.mode == CommandLine::Mode::help ? qUtf8Printable(headroom::gui::usage()) : HEADROOM_VERSION);
    if (std::fflush(stdout) == 0) return 0;
    std::fprintf(stderr, "headroom-gui: standard output cannot be written: %s\n", std::strerror(errno));
    return 4;
  }
  const bool pictures = line.mode != CommandLine::Mode::window;
  if (pictures) {
    forget_screen();
  } else if (qEnvironmentVariableIsEmpty("QT_QPA_PLATFORM") && qEnvironmentVariableIsEmpty("DISPLAY") &&
             qEnvironmentVariableIsEmpty("WAYLAND_DISPLAY")) {
    std::fprintf(stderr, "headroom-gui: there is no display; use --render or `headroom export` for pictures\n");
    return 4;
  }
  QApplication::setApplicationName("headroom-gui");
  QApplication::setApplicationVersion(HEADROOM_VERSION);
  QApplication::setStyle(new headroom::gui::WindowStyle);
  if (pictures) QHashSeed::setDeterministicGlobalSeed();  // the same record gives the same bytes
  // Figures are in one form whatever the locale: before any widget takes the user's.
  QLocale::setDefault(headroom::views::number_locale());
  usual_messages = qInstallMessageHandler(starting);
  QApplication application(argc, argv);
  std::setlocale(LC_NUMERIC, "C");  // Qt has set the user's for printf and strtod
  qInstallMessageHandler(nullptr);
  usual_messages = qInstallMessageHandler(nullptr);
  if (pictures) qInstallMessageHandler(drawing);
  headroom::gui::load_resources();
  QApplication::setWindowIcon(QIcon(":/icons/headroom.svg"));
  if (line.mode == CommandLine::Mode::render) return headroom::gui::render_pages(line);
  if (line.mode == CommandLine::Mode::export_view) return headroom::gui::export_view(line);
  if (line.mode == CommandLine::Mode::export_talk) return headroom::gui::export_talk_file(line);
  if (line.mode == CommandLine::Mode::check_talk) return headroom::gui::check_talk_file(line);
  if (line.mode == CommandLine::Mode::pack_talk) return headroom::gui::pack_talk_file(line);
  if (line.mode == CommandLine::Mode::measure) return headroom::gui::measure_window(line);

  headroom::gui::SettingsStore settings;
  if (line.theme) settings.set_theme(*line.theme);
  headroom::gui::StartOptions options;
  options.records = line.records;
  options.engine = line.engine;
  headroom::gui::MainWindow window(settings, options);
  window.show();
  return QApplication::exec();
}
