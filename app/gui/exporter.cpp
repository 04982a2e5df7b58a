// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/exporter.h"

#include <QBuffer>
#include <QCoreApplication>
#include <QElapsedTimer>
#include <QFileInfo>
#include <QImageWriter>
#include <QPageSize>
#include <QPainter>
#include <QPdfWriter>
#include <QSvgGenerator>
#include <QThread>
#include <algorithm>
#include <exception>
#include <memory>
#include <optional>
#include <vector>

#include "base/output_file.h"
#include "gui/clipped_device.h"
#include "gui/file_names.h"
#include "gui/recorded_figure.h"
#include "gui/wait_for_worker.h"
#include "views/common/theme.h"
#include "views/common/workers.h"

namespace headroom::gui {
namespace {

constexpr qint64 figure_patience_ms = 10 * 60 * 1000;

/// Device pixels of a map in a unit of the figure: paper takes as many as a good printer shows.
double image_scale_of(const FigureOptions& options) {
  switch (options.format) {
    case FigureFormat::pdf:
      return 3;
    case FigureFormat::svg:
      return 2;
    default:
      return std::clamp(options.scale, 1.0, 4.0);
  }
}

QString program() {
  return "Headroom " + QCoreApplication::applicationVersion();
}

QString head_text(const record::HeadSelector& head) {
  switch (head.kind) {
    case record::HeadSelector::Kind::mean:
      return QObject::tr("mean of heads");
    case record::HeadSelector::Kind::group:
      return QObject::tr("KV group %1").arg(head.index);
    case record::HeadSelector::Kind::head:
      break;
  }
  return QObject::tr("head %1").arg(head.index);
}

struct Fact {
  QString key, value;
};

QVector<Fact> facts(const views::Selection& selection, const views::Exportable& page) {
  const views::ViewState& state = selection.state();
  QVector<Fact> list;
  // Layer, head and method say nothing of a figure over many samples.
  if (const QString source = page.source_text(); !source.isEmpty())
    return list << Fact{"Source", source} << Fact{"Software", program()};
  if (const views::RecordPtr record = selection.record()) {
    list << Fact{"Run", QString::fromStdString(record->meta().run_id)}
         << Fact{"Model", QString::fromStdString(record->meta().model_name)};
  }
  list << Fact{"Layer", QString::number(state.layer)} << Fact{"Head", head_text(state.head)}
       << Fact{"Method", state.method} << Fact{"Baseline", state.baseline};
  if (const QString scale = page.scale_text(); !scale.isEmpty()) list << Fact{"Scale", scale};
  if (const QString cell = page.aggregation_text(); !cell.isEmpty()) list << Fact{"Aggregation", cell};
  return list << Fact{"Software", program()};
}

void draw(views::Exportable& page, const views::Selection& selection, QPainter& painter, const FigureOptions& options,
          double image_scale) {
  views::ExportOptions wanted;
  wanted.image_scale = image_scale;
  wanted.least_text = options.least_text;
  const QString source = page.source_text();
  if (options.caption)
    wanted.provenance =
        source.isEmpty() ? provenance(selection, page.scale_text()) : source + QStringLiteral(" · ") + program();
  page.render(painter, QRectF(QPointF(0, 0), options.size), wanted);
}

/// What is painted and said, to become a file's bytes on any thread.
struct Sketch {
  std::shared_ptr<const RecordedFigure> figure;
  FigureOptions options;
  QColor background;
  QString title, software;
  QVector<Fact> facts;
};

QString in_one_line(const QVector<Fact>& facts) {
  QStringList lines;
  for (const Fact& fact : facts) lines << fact.key + ": " + fact.value;
  return lines.join("; ");
}

Sketch sketch_of(views::Exportable& page, const views::Selection& selection, const FigureOptions& options) {
  const auto figure = std::make_shared<RecordedFigure>(options.size);
  QPainter painter(figure.get());
  draw(page, selection, painter, options, image_scale_of(options));
  painter.end();
  // What a cell is, is known when it is drawn.
  return {figure, options, views::Theme::instance().background(), page.title(), program(), facts(selection, page)};
}

QByteArray pdf_bytes(const Sketch& sketch) {
  QBuffer bytes;
  bytes.open(QIODevice::WriteOnly);
  QPdfWriter writer(&bytes);
  // The pages' unit is 1/96 inch and their fonts are in points: at another resolution the two would not fit together.
  writer.setResolution(96);
  writer.setPageMargins(QMarginsF(0, 0, 0, 0));
  writer.setPageSize(
      QPageSize(sketch.options.size * (72.0 / 96.0), QPageSize::Point, QString(), QPageSize::ExactMatch));
  writer.setTitle(sketch.title + " – " + in_one_line(sketch.facts));
  writer.setCreator(sketch.software);
  QPainter painter(&writer);
  if (!painter.isActive()) return {};
  sketch.figure->play(painter);
  return painter.end() ? bytes.data() : QByteArray();
}

QByteArray svg_bytes(const Sketch& sketch) {
  QBuffer bytes;
  bytes.open(QIODevice::WriteOnly);
  QSvgGenerator generator;
  generator.setOutputDevice(&bytes);
  generator.setSize(sketch.options.size.toSize());
  generator.setViewBox(QRectF(QPointF(0, 0), sketch.options.size));
  generator.setResolution(96);
  generator.setTitle(sketch.title);
  generator.setDescription(in_one_line(sketch.facts));
  QPainter target(&generator);
  if (!target.isActive()) return {};
  ClippedDevice clipped(target, sketch.options.size);  // the generator takes no notice of clipping
  QPainter painter(&clipped);
  sketch.figure->play(painter);
  return painter.end() && target.end() ? bytes.data() : QByteArray();
}

QImage image_of(const Sketch& sketch) {
  const double scale = image_scale_of(sketch.options);
  QImage image((sketch.options.size * scale).toSize(), QImage::Format_ARGB32_Premultiplied);
  image.fill(sketch.background);
  constexpr int dots = 3780;  // a metre, at 96 an inch: what was recorded is in these units
  image.setDotsPerMeterX(dots);
  image.setDotsPerMeterY(dots);
  QPainter painter(&image);
  painter.scale(scale, scale);
  sketch.figure->play(painter);
  painter.end();
  image.setDotsPerMeterX(static_cast<int>(96 * scale / 0.0254));
  image.setDotsPerMeterY(static_cast<int>(96 * scale / 0.0254));
  return image;
}

QByteArray png_bytes(const Sketch& sketch) {
  QImage image = image_of(sketch);
  for (const Fact& fact : sketch.facts) image.setText(fact.key, fact.value);
  image.setText("Title", sketch.title);
  QBuffer bytes;
  bytes.open(QIODevice::WriteOnly);
  return QImageWriter(&bytes, "png").write(image) ? bytes.data() : QByteArray();
}

QByteArray bytes_of(const Sketch& sketch) {
  switch (sketch.options.format) {
    case FigureFormat::pdf:
      return pdf_bytes(sketch);
    case FigureFormat::svg:
      return svg_bytes(sketch);
    default:
      return png_bytes(sketch);
  }
}

/// What a worker made of a file.
struct Written {
  enum class State { done, stopped, nothing } state = State::done;
  std::exception_ptr error;
};

}  // namespace

std::span<const FigurePreset> figure_presets() {
  // Painter units are 1/96 inch; a figure lays itself out for the width and the text that it is given.
  static constexpr FigurePreset presets[] = {
      {"screen", QT_TRANSLATE_NOOP("FigurePreset", "Screen, 1200 × 750"), 317.5, 198.4375, 0, false},
      {"slide", QT_TRANSLATE_NOOP("FigurePreset", "Slide 16:9, 339 × 191 mm, text ≥ 12 pt"), 338.7, 190.5, 12, false},
      {"two-columns", QT_TRANSLATE_NOOP("FigurePreset", "Two columns, 180 mm wide, text ≥ 7 pt"), 180, 110, 7, true},
      {"column", QT_TRANSLATE_NOOP("FigurePreset", "One column, 88 mm wide, text ≥ 7 pt"), 88, 66, 7, true},
  };
  return presets;
}

void apply_preset(FigureOptions& options, const FigurePreset& preset, views::Exportable& page) {
  constexpr double mm = 96.0 / 25.4;
  options.size = QSizeF(preset.width_mm, preset.height_mm) * mm;
  options.least_text = preset.least_points * 96 / 72;
  if (!preset.grows) return;
  const double wanted = page.wanted_height(options.size.width(), options.least_text);
  options.size.setHeight(std::clamp(wanted, options.size.height(), most_height_mm * mm));
}

std::optional<FigureFormat> figure_format(const QString& file) {
  const QString suffix = QFileInfo(file).suffix().toLower();
  if (suffix == "png") return FigureFormat::png;
  if (suffix == "pdf") return FigureFormat::pdf;
  if (suffix == "svg") return FigureFormat::svg;
  if (suffix == "csv") return FigureFormat::csv;
  return std::nullopt;
}

QString provenance(const views::Selection& selection, const QString& scale) {
  const views::ViewState& state = selection.state();
  QStringList parts;
  if (const views::RecordPtr record = selection.record()) {
    parts << QObject::tr("run %1").arg(QString::fromStdString(record->meta().run_id))
          << QString::fromStdString(record->meta().model_name);
  }
  parts << QObject::tr("layer %1, %2").arg(state.layer).arg(head_text(state.head)) << state.method
        << (scale.isEmpty() ? QString() : QObject::tr("colours: %1").arg(scale)) << program();
  parts.removeAll(QString());
  return parts.join(" · ");
}

QString fact_lines(const views::Selection& selection, const views::Exportable& page) {
  QString lines;
  for (const Fact& fact : facts(selection, page)) {
    QString value = fact.value;
    lines += QStringLiteral("# %1: %2\r\n").arg(fact.key, value.replace('\n', ' ').replace('\r', ' '));
  }
  return lines;
}

void ask_for_figure(views::Exportable& page, const views::Selection& selection, const FigureOptions& options) {
  QImage nothing(1, 1, QImage::Format_ARGB32_Premultiplied);
  QPainter painter(&nothing);
  draw(page, selection, painter, options, image_scale_of(options));
}

QString await_figure(views::Exportable& page, const views::Selection& selection, const FigureOptions& options,
                     const std::function<bool()>& given_up) {
  const bool numbers = options.format == FigureFormat::csv;
  QElapsedTimer clock, drawn;
  clock.start();
  for (;;) {
    // A hidden page catches up with the selection when it is drawn; the selection may have changed since.
    const bool stuck = !page.ready() && drawn.isValid() && drawn.elapsed() > 250;
    if (!drawn.isValid() || stuck || (page.ready() && !page.complete() && !numbers)) {
      ask_for_figure(page, selection, options);
      drawn.start();
    }
    QCoreApplication::processEvents(QEventLoop::AllEvents, 20);
    if (page.ready() && (numbers || page.complete())) return page.problem();
    if (given_up && given_up()) return QObject::tr("Stopped.");
    if (clock.elapsed() > figure_patience_ms)
      return QObject::tr("The picture was not ready after %1 minutes.").arg(figure_patience_ms / 60000);
    if (!page.ready()) QThread::msleep(2);
  }
}

QImage figure_image(views::Exportable& page, const views::Selection& selection, const FigureOptions& options) {
  return image_of(sketch_of(page, selection, options));
}

QImage figure_image_by_worker(views::Exportable& page, const views::Selection& selection,
                              const FigureOptions& options) {
  std::stop_source never;
  return wait_for_worker(views::in_worker([sketch = sketch_of(page, selection, options)] { return image_of(sketch); }),
                         never, {});
}

void write_picture(const QByteArray& bytes, const QString& file, std::span<const std::filesystem::path> inputs) {
  OutputPlace place(path_of(file));
  place.must_not_be(inputs);
  write_output(place, {bytes.constData(), static_cast<std::size_t>(bytes.size())});
}

QString write_figure(views::Exportable& page, const views::Selection& selection, const QString& file,
                     const FigureOptions& options, const std::function<bool()>& given_up) {
  if (const QString why = await_figure(page, selection, options, given_up); !why.isEmpty()) {
    page.exported();
    return why;
  }
  // From here on in another thread: what is drawn is painted once more there, compressed and written.
  const bool numbers = options.format == FigureFormat::csv;
  std::function<QByteArray(std::stop_token)> make;
  if (numbers) {
    auto work = page.csv_work();
    if (!work) work = [text = page.csv()](std::stop_token) { return text; };
    make = [work, facts = fact_lines(selection, page).toUtf8()](std::stop_token stop) {
      const QByteArray rows = work(stop).toUtf8();
      return rows.isEmpty() ? rows : facts + rows;
    };
  } else {
    make = [sketch = sketch_of(page, selection, options)](std::stop_token) { return bytes_of(sketch); };
  }
  page.exported();
  std::vector<std::filesystem::path> inputs;
  if (const views::RecordPtr record = selection.record()) inputs.push_back(record->path());
  if (const views::SweepPtr sweep = selection.sweep()) inputs.push_back(sweep->path);
  if (const views::BenchPtr bench = selection.bench()) inputs.push_back(bench->path);
  std::stop_source stop;
  const auto running = views::in_worker([make, file, inputs, token = stop.get_token()]() -> Written {
    try {
      const QByteArray bytes = make(token);
      if (token.stop_requested()) return {Written::State::stopped, {}};
      if (bytes.isEmpty()) return {Written::State::nothing, {}};
      write_picture(bytes, file, inputs);
      return {};
    } catch (...) {
      return {Written::State::done, std::current_exception()};
    }
  });
  const Written written = wait_for_worker(running, stop, given_up);
  if (written.error) std::rethrow_exception(written.error);
  if (written.state == Written::State::stopped) return QObject::tr("Stopped.");
  if (written.state == Written::State::nothing)
    return numbers ? QObject::tr("This view has no numbers to write.")
                   : QObject::tr("%1 cannot be drawn.").arg(shown_path(file));
  return {};
}

}  // namespace headroom::gui
