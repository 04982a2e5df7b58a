// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/talk_export.h"

#include <unistd.h>
#include <QBuffer>
#include <QCoreApplication>
#include <QFileInfo>
#include <QImageWriter>
#include <QPageSize>
#include <QPainter>
#include <QPdfWriter>
#include <QRegularExpression>

#include "base/error.h"
#include "base/output_file.h"
#include "gui/exporter.h"
#include "gui/file_names.h"
#include "gui/talk_html.h"
#include "gui/talk_slides.h"
#include "views/common/format.h"
#include "views/common/theme.h"

namespace headroom::gui {
namespace {

namespace fs = std::filesystem;

void say_step(const TalkExport& job, int step) {
  if (job.progress) job.progress(step + 1, static_cast<int>(job.talk.steps.size()));
  if (job.given_up && job.given_up()) throw cancelled_error();
}

QByteArray pdf_of(const TalkExport& job) {
  QBuffer bytes;
  bytes.open(QIODevice::WriteOnly);
  {
    QPdfWriter writer(&bytes);
    writer.setResolution(96);
    writer.setPageMargins(QMarginsF(0, 0, 0, 0));
    writer.setPageSize(
        QPageSize(QSizeF(slide_width, slide_height) * 0.75, QPageSize::Point, {}, QPageSize::ExactMatch));
    writer.setTitle(job.talk.title.isEmpty() ? QObject::tr("Talk") : job.talk.title);
    writer.setCreator("Headroom " + QCoreApplication::applicationVersion());
    QPainter painter;
    for (int step = 0; step < static_cast<int>(job.talk.steps.size()); ++step) {
      say_step(job, step);
      TalkSlide slide(job, step, 2);  // a bad step fails before its page is begun
      if (step == 0 ? !painter.begin(&writer) : !writer.newPage())
        throw Error(ErrorKind::internal, "the PDF cannot be drawn");
      slide.paint(painter);
    }
    painter.end();
  }
  return bytes.data();
}

QString picture_name(const views::TalkStep& step, int number) {
  QString words = step.title.toLower();
  words.replace(QRegularExpression("[^a-z0-9]+"), "-");
  words = words.left(40);
  while (words.startsWith('-')) words.remove(0, 1);
  while (words.endsWith('-')) words.chop(1);
  return QString("%1-%2.png").arg(number, 2, 10, QLatin1Char('0')).arg(words.isEmpty() ? step.page : words);
}

/// A folder of its own that gets its name when every picture is in it.
std::int64_t write_pictures(const TalkExport& job, const fs::path& folder) {
  std::error_code failed;
  const fs::path target = fs::absolute(folder, failed).lexically_normal();
  const fs::path whole = target.filename().empty() ? target.parent_path() : target;
  if (fs::exists(fs::symlink_status(whole, failed)))
    throw input_error(whole.native(), "is there already", "a folder that does not exist", "one that does");
  const fs::path part = whole.parent_path() / ("." + whole.filename().string() + ".part-" + std::to_string(::getpid()));
  if (!fs::create_directory(part, failed))
    throw input_error(part.parent_path().native(), "a folder cannot be made in it", "one that can be written to",
                      failed.message());
  struct Guard {
    const fs::path& path;
    bool kept = false;
    ~Guard() {
      std::error_code ignored;
      if (!kept) fs::remove_all(path, ignored);
    }
  } guard{part};
  std::int64_t total = 0;
  for (int step = 0; step < static_cast<int>(job.talk.steps.size()); ++step) {
    say_step(job, step);
    TalkSlide slide(job, step, 2);
    QImage image(static_cast<int>(slide_width) * 2, static_cast<int>(slide_height) * 2,
                 QImage::Format_ARGB32_Premultiplied);
    QPainter painter(&image);
    painter.setRenderHint(QPainter::Antialiasing);
    painter.scale(2, 2);
    slide.paint(painter);
    painter.end();
    image.setText("Title", slide.step().title);
    image.setText("Description", slide.provenance_line());
    QBuffer bytes;
    bytes.open(QIODevice::WriteOnly);
    if (!QImageWriter(&bytes, "png").write(image)) throw Error(ErrorKind::internal, "the picture cannot be drawn");
    total += bytes.size();
    write_picture(bytes.data(), name_from_path(part / path_of(picture_name(slide.step(), step + 1))), {});
  }
  fs::rename(part, whole, failed);
  if (failed) throw input_error(whole.native(), "cannot be made", "a folder that does not exist", failed.message());
  guard.kept = true;
  return total;
}

}  // namespace

QString TalkExported::words() const {
  const QString size = bytes >= 1'000'000 ? QObject::tr("%1 MB").arg(views::format_fixed(bytes / 1e6, 1))
                                          : QObject::tr("%1 kB").arg(views::format_count((bytes + 999) / 1000));
  const QString text =
      steps == 1 ? QObject::tr("1 step, %1.").arg(size) : QObject::tr("%1 steps, %2.").arg(steps).arg(size);
  return note.isEmpty() ? text : text + " " + note;
}

TalkExported export_talk(const TalkExport& job, const QString& target) {
  if (job.talk.steps.empty()) throw input_error({}, "the talk has no steps", "a step", "none");
  TalkExported result;
  result.steps = static_cast<int>(job.talk.steps.size());
  const QString suffix = QFileInfo(target).suffix().toLower();
  if (suffix == "pdf" || suffix == "html" || suffix == "htm") {
    OutputPlace place(path_of(target));  // before the work
    place.must_not_be(views::files_of_talk(job.talk));
    const QByteArray bytes = suffix == "pdf" ? pdf_of(job) : html_of(job, result.note);
    write_picture(bytes, target, views::files_of_talk(job.talk));
    result.bytes = bytes.size();
  } else {
    result.bytes = write_pictures(job, path_of(target));
  }
  return result;
}

}  // namespace headroom::gui
