// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/render_driver.h"

#include <QApplication>
#include <QBuffer>
#include <QElapsedTimer>
#include <QPixmap>
#include <QTemporaryDir>
#include <QThread>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "gui/exporter.h"
#include "gui/file_names.h"
#include "gui/main_window.h"
#include "record/opening.h"
#include "record/sweep/sweep_file.h"
#include "views/docks/inspector_dock.h"

namespace headroom::gui {
namespace {

constexpr int patience_ms = 60000;

/// One line of UTF-8, whatever names it quotes.
void complain(const QString& text) {
  std::fprintf(stderr, "headroom-gui: %s\n", printable_text(bytes_of_name(text)).c_str());
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
    if (views::is_bench_name(path_of(file))) {
      window_.selection().open_bench(views::read_open_bench(path_of(file)));
      QApplication::processEvents();
      return;
    }
    if (record::is_sweep(path_of(file))) {
      window_.selection().open_sweep(views::read_open_sweep(path_of(file)));
      QApplication::processEvents();
      return;
    }
    const views::RecordPtr record = record::RunRecord::open(path_of(file));
    window_.selection().open_record(record, record::first_layer(*record));
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
    complain(name_from_bytes(error.what()));
    return static_cast<int>(error.kind());
  } catch (const std::exception& error) {
    complain(name_from_bytes(error.what()));
    return static_cast<int>(ErrorKind::internal);
  }
}

using Head = record::HeadSelector;

/// "5", "mean" or "group:1".
void read_head(const QString& text, CommandLine& line) {
  const bool group = text.startsWith(QLatin1String("group:"));
  bool good = true;
  Head head;
  if (text != QLatin1String("mean")) {
    head.kind = group ? Head::Kind::group : Head::Kind::head;
    head.index = (group ? text.mid(6) : text).toInt(&good);
  }
  line.head = head;
  if ((!good || head.index < 0) && line.problem.isEmpty())
    line.problem = "--head: expected a head's number, mean or group:KV-HEAD, found \"" + text + "\"";
}

const FigurePreset* preset_named(const QString& name) {
  for (const FigurePreset& preset : figure_presets())
    if (name == preset.name) return &preset;
  return nullptr;
}

std::string method_list(const record::RunRecord& record) {
  std::string list;
  for (const auto& method : record.methods()) list += (list.empty() ? "" : ", ") + method.id;
  return list;
}

/// What the command line chooses of the shown record. Throws where there is no such thing in it.
void choose(views::Selection& selection, const CommandLine& line) {
  if (!selection.record()) {
    const std::string what = selection.bench() ? "a bench result" : "a sweep";
    const QString view = selection.bench() ? "timing" : "budget";
    if (line.layer || line.head || !line.method.isEmpty() || !line.baseline.isEmpty())
      throw usage_error("--layer, --head, --method and --baseline have no meaning for " + what);
    if (!line.view.isEmpty() && line.view != view)
      throw usage_error(what + " has one view to draw, " + view.toStdString() + ", not " + line.view.toStdString());
    return;
  }
  const record::RunRecord& record = *selection.record();
  const record::RunMeta& meta = record.meta();
  for (const QString& method : {line.method, line.baseline})
    if (!method.isEmpty() && !record.find_method(method.toStdString()))
      throw usage_error("the record has no method \"" + method.toStdString() + "\": it holds " + method_list(record));
  if (line.layer && !meta.has_layer(*line.layer))
    throw input_error("--layer", "no such layer", "0 to " + std::to_string(meta.num_layers() - 1),
                      std::to_string(*line.layer));
  const int layer = line.layer.value_or(selection.state().layer);
  if (line.head && line.head->kind != Head::Kind::mean) {
    const bool group = line.head->kind == Head::Kind::group;
    const record::LayerMeta sizes = meta.has_layer(layer) ? meta.layer(layer) : record::LayerMeta{};
    const std::int64_t heads = group ? sizes.num_kv_heads : sizes.num_q_heads;
    if (line.head->index >= heads)
      throw input_error("--head", "layer " + std::to_string(layer) + " has no such " + (group ? "KV head" : "head"),
                        "0 to " + std::to_string(heads - 1), std::to_string(line.head->index));
  }
  selection.change([&](views::ViewState& state) {
    if (!line.method.isEmpty()) state.method = line.method;
    if (!line.baseline.isEmpty()) state.baseline = line.baseline;
    if (line.layer) state.layer = *line.layer;
    if (line.head) state.head = *line.head;
  });
}

}  // namespace

QString usage() {
  return "headroom-gui [RUN.h5 | S.h5 | BENCH.json | TALK.headroom-talk …] [--engine PATH] [--theme light|dark]\n"
         "headroom-gui --render DIR RUN.h5 [--size 1600x1000] [--theme light|dark]\n"
         "headroom-gui --measure RUN.h5 [--size 1600x1000]\n"
         "headroom-gui --check-talk TALK | --pack-talk TALK -o FOLDER\n"
         "headroom-gui --export-talk TALK [--theme light|dark] -o FILE.pdf|FILE.html|FOLDER\n"
         "headroom-gui --export S.h5 --view budget … -o FILE\n"
         "headroom-gui --export BENCH.json --view timing … -o FILE\n"
         "headroom-gui --export RUN.h5 --view overview|attention|text|budget|timing|compare [--method M]\n"
         "             [--baseline M] [--layer L] [--head H|mean|group:G] [--theme light|dark]\n"
         "             [--size 1200x750 | --preset screen|slide|two-columns|column] -o FILE.png|pdf|svg|csv";
}

CommandLine read_command_line(const QStringList& arguments) {
  CommandLine line;
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
    } else if (argument == "--export-talk" || argument == "--check-talk" || argument == "--pack-talk") {
      line.mode = argument == "--export-talk"  ? CommandLine::Mode::export_talk
                  : argument == "--check-talk" ? CommandLine::Mode::check_talk
                                               : CommandLine::Mode::pack_talk;
      line.records << value();
    } else if (argument == "--measure") {
      line.mode = CommandLine::Mode::measure;
      line.records << value();
    } else if (argument == "--view") {
      line.view = value();
    } else if (argument == "-o" || argument == "--out") {
      line.output = value();
    } else if (argument == "--layer") {
      number(line.layer);
    } else if (argument == "--head") {
      read_head(value(), line);
    } else if (argument == "--method") {
      line.method = value();
    } else if (argument == "--baseline") {
      line.baseline = value();
    } else if (argument == "--theme") {
      const QString name = value();
      if (name == "dark")
        line.theme = views::ThemeMode::dark;
      else if (name == "light")
        line.theme = views::ThemeMode::light;
      else if (line.problem.isEmpty())
        line.problem = "--theme: expected light or dark, found \"" + name + "\"";
    } else if (argument == "--preset") {
      line.preset = value();
      if (!preset_named(line.preset) && line.problem.isEmpty())
        line.problem = "--preset: expected screen, slide, two-columns or column, found \"" + line.preset + "\"";
    } else if (argument == "--size") {
      const QStringList sides = value().split('x');
      const QSize size(sides.value(0).toInt(), sides.value(1).toInt());
      if (line.problem.isEmpty() && (sides.size() != 2 || size.width() < 320 || size.height() < 240 ||
                                     size.width() > 8192 || size.height() > 8192)) {
        line.problem = "--size: expected WIDTHxHEIGHT, 320x240 to 8192x8192";
      }
      line.size = size;
      line.size_given = true;
    } else if (argument.startsWith('-')) {
      line.problem = "unknown option " + argument;
    } else {
      line.records << argument;
    }
  }
  if (!line.problem.isEmpty()) return line;
  if ((line.mode == CommandLine::Mode::export_talk || line.mode == CommandLine::Mode::pack_talk) &&
      line.output.isEmpty())
    line.problem = line.mode == CommandLine::Mode::export_talk
                       ? "--export-talk needs -o FILE.pdf, FILE.html or a folder"
                       : "--pack-talk needs -o FOLDER";
  if (line.mode == CommandLine::Mode::render && line.records.isEmpty()) line.problem = "--render needs a record";
  if (line.mode == CommandLine::Mode::export_view) {
    if (line.size_given && !line.preset.isEmpty()) line.problem = "--preset and --size exclude each other";
    if (!line.size_given) line.size = {1200, 750};
    if (line.view.isEmpty())
      line.problem = "--export needs --view";
    else if (!figure_format(line.output))
      line.problem = "--export needs -o FILE.png, .pdf, .svg or .csv";
  }
  return line;
}

int render_pages(const CommandLine& line) {
  return guarded([&] {
    std::error_code failure;
    const std::filesystem::path folder = path_of(line.output);
    std::filesystem::create_directories(folder, failure);
    if (!std::filesystem::is_directory(folder, failure))
      throw input_error(folder.native(), "the folder cannot be made");
    Studio studio(line);
    for (const QString& file : line.records) studio.open(file);
    MainWindow& window = studio.window();
    std::vector<std::filesystem::path> inputs;
    for (const QString& file : line.records) inputs.push_back(path_of(file));
    int code = 0;
    const auto failed = [&](const QString& why) {
      complain(why);
      code = static_cast<int>(ErrorKind::input);
    };
    for (int i = 0; i < window.pages().size(); ++i) {
      const Page& page = window.pages()[i];
      window.show_page(i);
      if (!settle(window, page)) {
        failed(page.id + ".png is not written: still drawing after a minute");
        continue;
      }
      // A picture of a sentence is none of the page.
      if (const QString why = page.exportable->problem(); !why.isEmpty()) {
        failed(page.id + ".png is not written: " + why);
        continue;
      }
      QBuffer bytes;
      bytes.open(QIODevice::WriteOnly);
      window.grab().save(&bytes, "PNG");
      try {
        write_picture(bytes.data(), line.output + "/" + page.id + ".png", inputs);
      } catch (const Error& error) {
        failed(QString::fromUtf8(error.what()));
        code = static_cast<int>(error.kind());
      }
    }
    return code;
  });
}

int export_view(const CommandLine& line) {
  return guarded([&] {
    Studio studio(line);
    studio.open(line.records.first());
    MainWindow& window = studio.window();
    choose(window.selection(), line);
    const int index = page_index(window.pages(), line.view);
    if (index < 0) {
      complain("no such view: " + line.view);
      return static_cast<int>(ErrorKind::usage);
    }
    window.show_page(index);
    const Page& page = window.pages()[index];
    if (!settle(window, page)) throw input_error({}, page.id.toStdString() + ": still drawing after a minute");
    FigureOptions options;
    options.format = *figure_format(line.output);
    options.size = line.size;
    views::Exportable& view = exportable_view(window.pages(), line.view);
    // As high as its content wants, where nobody says how high.
    if (const FigurePreset* preset = preset_named(line.preset))
      apply_preset(options, *preset, view);
    else if (!line.size_given)
      options.size.setHeight(std::max(options.size.height(), view.wanted_height(options.size.width(), 0)));
    const QString problem = write_figure(view, window.selection(), line.output, options);
    if (problem.isEmpty()) return 0;
    complain(problem);
    return static_cast<int>(ErrorKind::input);
  });
}

}  // namespace headroom::gui
