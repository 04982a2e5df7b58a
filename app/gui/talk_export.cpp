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
#include <QThread>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <stop_token>
#include <utility>

#include "base/error.h"
#include "base/output_file.h"
#include "gui/exporter.h"
#include "gui/file_names.h"
#include "gui/recorded_figure.h"
#include "gui/talk_html.h"
#include "gui/talk_slides.h"
#include "gui/wait_for_worker.h"
#include "views/common/format.h"
#include "views/common/theme.h"
#include "views/common/workers.h"

namespace headroom::gui {
namespace {

namespace fs = std::filesystem;

void say_step(const TalkExport& job, int step) {
  if (job.progress) job.progress(step + 1, static_cast<int>(job.talk.steps.size()));
  if (job.given_up && job.given_up()) throw cancelled_error();
}

/// A step as it was painted, to be painted again on another thread.
std::shared_ptr<const RecordedFigure> recorded(TalkSlide& slide) {
  const auto figure = std::make_shared<RecordedFigure>(QSizeF(slide_width, slide_height));
  QPainter painter(figure.get());
  slide.paint(painter);
  return figure;
}

/// Pages of a PDF, made by a worker one after the other while the next is laid out on the window's thread.
class PdfPages {
 public:
  explicit PdfPages(const QString& title) : shared_(std::make_shared<Shared>()) {
    running_ = views::in_worker(write_pages, shared_, title, "Headroom " + QCoreApplication::applicationVersion());
  }
  ~PdfPages() {
    end(true);
    running_.waitForFinished();
  }
  PdfPages(const PdfPages&) = delete;
  PdfPages& operator=(const PdfPages&) = delete;

  /// Runs the event loop while as many wait as are kept.
  void add(std::shared_ptr<const RecordedFigure> page, const std::function<bool()>& given_up) {
    while (waiting() >= most_waiting_pages && !running_.isFinished() && !(given_up && given_up())) {
      QCoreApplication::processEvents(QEventLoop::AllEvents, 20);
      QThread::msleep(1);
    }
    const std::lock_guard lock(shared_->mutex);
    shared_->pages.push_back(std::move(page));
    shared_->changed.notify_one();
  }
  /// The writer has given up, which finish() tells: pages are in vain.
  bool over() const { return running_.isFinished(); }
  QByteArray finish(const std::function<bool()>& given_up) {
    end(false);
    std::stop_source stop;
    // Taken out: a future whose result was taken never finishes again.
    const QByteArray bytes = wait_for_worker(std::exchange(running_, {}), stop, [&] {
      const bool stopped = given_up && given_up();
      if (stopped) end(true);
      return stopped;
    });
    if (given_up && given_up()) throw cancelled_error();
    if (bytes.isEmpty()) throw Error(ErrorKind::internal, "the PDF cannot be drawn");
    return bytes;
  }

 private:
  static constexpr std::size_t most_waiting_pages = 2;  // each with the pixels of its maps
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::shared_ptr<const RecordedFigure>> pages;
    bool ended = false, abandoned = false;
  };

  std::size_t waiting() const {
    const std::lock_guard lock(shared_->mutex);
    return shared_->pages.size();
  }
  void end(bool abandon) {
    const std::lock_guard lock(shared_->mutex);
    shared_->ended = true;
    shared_->abandoned |= abandon;
    shared_->changed.notify_one();
  }
  /// Null: there are no more.
  static std::shared_ptr<const RecordedFigure> next(Shared& shared) {
    std::unique_lock lock(shared.mutex);
    shared.changed.wait(lock, [&] { return shared.ended || !shared.pages.empty(); });
    if (shared.abandoned || shared.pages.empty()) return nullptr;
    auto page = std::move(shared.pages.front());
    shared.pages.pop_front();
    return page;
  }
  /// Empty where it was abandoned or cannot be drawn.
  static QByteArray write_pages(const std::shared_ptr<Shared>& shared, const QString& title, const QString& creator) {
    QBuffer bytes;
    bytes.open(QIODevice::WriteOnly);
    QPdfWriter writer(&bytes);
    writer.setResolution(96);
    writer.setPageMargins(QMarginsF(0, 0, 0, 0));
    writer.setPageSize(
        QPageSize(QSizeF(slide_width, slide_height) * 0.75, QPageSize::Point, {}, QPageSize::ExactMatch));
    writer.setTitle(title);
    writer.setCreator(creator);
    QPainter painter;
    while (const auto page = next(*shared)) {
      if (painter.isActive() ? !writer.newPage() : !painter.begin(&writer)) return {};
      page->play(painter);
    }
    const bool whole = painter.isActive() && painter.end();
    const std::lock_guard lock(shared->mutex);
    return whole && !shared->abandoned ? bytes.data() : QByteArray();
  }

  std::shared_ptr<Shared> shared_;
  QFuture<QByteArray> running_;
};

QByteArray pdf_of(const TalkExport& job) {
  PdfPages pages(job.talk.title.isEmpty() ? QObject::tr("Talk") : job.talk.title);
  for (int step = 0; step < static_cast<int>(job.talk.steps.size()) && !pages.over(); ++step) {
    say_step(job, step);
    TalkSlide slide(job, step, 2);
    pages.add(recorded(slide), job.given_up);
  }
  return pages.finish(job.given_up);
}

/// The slide at two pixels a unit, as a PNG with its words; empty where it cannot be drawn.
QByteArray png_of(const RecordedFigure& figure, const QString& title, const QString& description) {
  constexpr int scale = 2, dots = 3780;  // a metre, at 96 an inch: what was recorded is in these units
  QImage image(static_cast<int>(slide_width) * scale, static_cast<int>(slide_height) * scale,
               QImage::Format_ARGB32_Premultiplied);
  image.setDotsPerMeterX(dots);
  image.setDotsPerMeterY(dots);
  QPainter painter(&image);
  painter.setRenderHint(QPainter::Antialiasing);
  painter.scale(scale, scale);
  figure.play(painter);
  painter.end();
  image.setText("Title", title);
  image.setText("Description", description);
  QBuffer bytes;
  bytes.open(QIODevice::WriteOnly);
  return QImageWriter(&bytes, "png").write(image) ? bytes.data() : QByteArray();
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
    std::stop_source never;
    const QByteArray bytes =
        wait_for_worker(views::in_worker([figure = recorded(slide), title = slide.step().title,
                                          line = slide.provenance_line()] { return png_of(*figure, title, line); }),
                        never, {});
    if (bytes.isEmpty()) throw Error(ErrorKind::internal, "the picture cannot be drawn");
    total += bytes.size();
    write_picture(bytes, name_from_path(part / path_of(picture_name(slide.step(), step + 1))), {});
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
