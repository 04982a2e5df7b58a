// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/render_driver.h"

#include <QApplication>
#include <QBuffer>
#include <QDir>
#include <QElapsedTimer>
#include <QFileInfo>
#include <QPixmap>
#include <QTemporaryDir>
#include <QThread>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "base/error.h"
#include "gui/exporter.h"
#include "gui/main_window.h"
#include "views/docks/inspector_dock.h"
#include "views/common/opening.h"

namespace headroom::gui {
namespace {

constexpr int patience_ms = 60000;

void complain(const QString& text) {
  std::fprintf(stderr, "headroom-gui: %s\n", qUtf8Printable(text));
}

/// Runs the event loop until the page has drawn everything; false where that took too long.
bool settle(const MainWindow& window, const Page& page) {
  const auto* inspector = window.findChild<views::InspectorDock*>();
  QElapsedTimer clock;
  clock.start();
  int calm = 0;
  while (clock.elapsed() < patience_ms) {
    QApplication::processEvents(QEventLoop::AllEvents, 20);
    // Some work is started by the paint that follows other work: calm must last.
    calm = page.settled() && (!inspector || inspector->settled()) ? calm + 1 : 0;
    if (calm >= 8) return true;
    QThread::msleep(5);
  }
  return false;
}

/// A window for pictures: settings of its own, no engine, no hints.
class Studio {
 public:
  explicit Studio(const CommandLine& line)
      : settings_(folder_.filePath("settings.ini")),
        window_((settings_.set_theme(line.theme.value_or(views::ThemeMode::light)), settings_), options(line.size)) {
    window_.show();
  }
  void open(const QString& file) {
    const views::RecordPtr record = record::RunRecord::open(file.toStdString());
    window_.selection().open_record(record, views::retrieval_layer(*record));
    QApplication::processEvents();
  }
  MainWindow& window() { return window_; }

 private:
  static StartOptions options(QSize size) {
    StartOptions options;
    options.use_engine = false;
    options.quiet = true;
    options.size = size;
    return options;
  }
  QTemporaryDir folder_;
  SettingsStore settings_;
  MainWindow window_;
};

template <typename Work>
int guarded(Work&& work) {
  try {
    return work();
  } catch (const Error& error) {
    complain(QString::fromUtf8(error.what()));
    return static_cast<int>(error.kind());
  } catch (const std::exception& error) {
    complain(QString::fromUtf8(error.what()));
    return static_cast<int>(ErrorKind::internal);
  }
}

}  // namespace

QString usage() {
  return "headroom-gui [RUN.h5 …] [--engine PATH] [--theme light|dark]\n"
         "headroom-gui --render DIR RUN.h5 [--size 1600x1000] [--theme light|dark]\n"
         "headroom-gui --export RUN.h5 --view overview|attention|text|budget|timing|compare [--layer L] [--head H]\n"
         "             [--theme light|dark] [--size 1200x750] -o FILE.png|pdf|svg|csv";
}

CommandLine read_command_line(const QStringList& arguments) {
  CommandLine line;
  bool size_given = false;
  for (int i = 0; i < arguments.size() && line.problem.isEmpty(); ++i) {
    const QString& argument = arguments[i];
    const auto value = [&]() -> QString {
      if (i + 1 < arguments.size()) return arguments[++i];
      line.problem = argument + " needs a value";
      return {};
    };
    const auto number = [&](std::optional<int>& target) {
      bool good = false;
      const QString text = value();
      target = text.toInt(&good);
      if (!good && line.problem.isEmpty())
        line.problem = argument + ": expected a whole number, found \"" + text + "\"";
    };
    if (argument == "--help" || argument == "-h") {
      line.mode = CommandLine::Mode::help;
    } else if (argument == "--version") {
      line.mode = CommandLine::Mode::version;
    } else if (argument == "--engine") {
      line.engine = value();
    } else if (argument == "--render") {
      line.mode = CommandLine::Mode::render;
      line.output = value();
    } else if (argument == "--export") {
      line.mode = CommandLine::Mode::export_view;
      line.records << value();
    } else if (argument == "--view") {
      line.view = value();
    } else if (argument == "-o" || argument == "--out") {
      line.output = value();
    } else if (argument == "--layer") {
      number(line.layer);
    } else if (argument == "--head") {
      number(line.head);
    } else if (argument == "--theme") {
      const QString name = value();
      if (name == "dark")
        line.theme = views::ThemeMode::dark;
      else if (name == "light")
        line.theme = views::ThemeMode::light;
      else if (line.problem.isEmpty())
        line.problem = "--theme: expected light or dark, found \"" + name + "\"";
    } else if (argument == "--size") {
      const QStringList sides = value().split('x');
      const QSize size(sides.value(0).toInt(), sides.value(1).toInt());
      if (line.problem.isEmpty() && (sides.size() != 2 || size.width() < 320 || size.height() < 240 ||
                                     size.width() > 8192 || size.height() > 8192)) {
        line.problem = "--size: expected WIDTHxHEIGHT, 320x240 to 8192x8192";
      }
      line.size = size;
      size_given = true;
    } else if (argument.startsWith('-')) {
      line.problem = "unknown option " + argument;
    } else {
      line.records << argument;
    }
  }
  if (!line.problem.isEmpty()) return line;
  if (line.mode == CommandLine::Mode::render && line.records.isEmpty()) line.problem = "--render needs a record";
  if (line.mode == CommandLine::Mode::export_view) {
    if (!size_given) line.size = {1200, 750};
    if (line.view.isEmpty())
      line.problem = "--export needs --view";
    else if (!figure_format(line.output))
      line.problem = "--export needs -o FILE.png, .pdf, .svg or .csv";
  }
  return line;
}

int render_pages(const CommandLine& line) {
  return guarded([&] {
    if (!QDir().mkpath(line.output)) throw input_error(line.output.toStdString(), "the folder cannot be made");
    Studio studio(line);
    for (const QString& file : line.records) studio.open(file);
    MainWindow& window = studio.window();
    std::vector<std::filesystem::path> inputs;
    for (const QString& file : line.records) inputs.emplace_back(QFile::encodeName(file).toStdString());
    for (int i = 0; i < window.pages().size(); ++i) {
      const Page& page = window.pages()[i];
      window.show_page(i);
      if (!settle(window, page)) complain(page.id + ": still drawing after a minute, written as it is");
      QBuffer picture;
      picture.open(QIODevice::WriteOnly);
      if (!window.grab().save(&picture, "PNG")) throw Error(ErrorKind::internal, "a page cannot be drawn");
      write_picture(picture.data(), line.output + "/" + page.id + ".png", inputs);
    }
    return 0;
  });
}

int export_view(const CommandLine& line) {
  return guarded([&] {
    Studio studio(line);
    studio.open(line.records.first());
    MainWindow& window = studio.window();
    const record::RunMeta& meta = window.selection().record()->meta();
    if (line.layer && !meta.has_layer(*line.layer)) {
      throw input_error("--layer", "no such layer", "0 to " + std::to_string(meta.num_layers() - 1),
                        std::to_string(*line.layer));
    }
    const int layer = line.layer.value_or(window.selection().state().layer);
    const std::int64_t heads = meta.has_layer(layer) ? meta.layer(layer).num_q_heads : 0;
    if (line.head && (*line.head < 0 || *line.head >= heads)) {
      throw input_error("--head", "layer " + std::to_string(layer) + " has no such head",
                        "0 to " + std::to_string(heads - 1), std::to_string(*line.head));
    }
    window.selection().change([&](views::ViewState& state) {
      if (line.layer) state.layer = *line.layer;
      if (line.head) state.head = {record::HeadSelector::Kind::head, *line.head};
    });
    const int index = page_index(window.pages(), line.view);
    if (index < 0) {
      complain("no such view: " + line.view);
      return static_cast<int>(ErrorKind::usage);
    }
    window.show_page(index);
    const Page& page = window.pages()[index];
    if (!settle(window, page)) complain(page.id + ": still drawing after a minute, written as it is");
    FigureOptions options;
    options.format = *figure_format(line.output);
    options.size = line.size;
    const QString problem =
        write_figure(exportable_view(window.pages(), line.view), window.selection(), line.output, options);
    if (problem.isEmpty()) return 0;
    complain(problem);
    return static_cast<int>(ErrorKind::input);
  });
}

}  // namespace headroom::gui
