// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/record_opener.h"

#include <QFutureWatcher>
#include <QtConcurrent>
#include <exception>
#include <variant>

#include "base/error.h"
#include "gui/file_names.h"
#include "record/sweep/sweep_file.h"
#include "views/common/opening.h"
#include "views/common/workers.h"

namespace headroom::gui {
namespace {

struct Opened {
  views::RecordPtr record;
  std::optional<int> layer;
};
using Outcome = std::variant<Opened, Problem, views::SweepPtr, views::BenchPtr>;

Outcome open_file(const std::filesystem::path& path) {
  views::give_way_to_window();
  try {
    if (views::is_bench_name(path)) return views::read_open_bench(path);
    if (record::is_sweep(path)) return views::read_open_sweep(path);
    Opened opened{record::RunRecord::open(path), {}};
    opened.layer = views::retrieval_layer(*opened.record);
    opened.record = views::with_small_parts(opened.record, opened.layer);
    return opened;
  } catch (const Error& error) {
    const ErrorDetail& detail = error.detail();
    return Problem{QString::fromStdString(error.message()), QString::fromStdString(detail.place),
                   QString::fromStdString(detail.expected), QString::fromStdString(detail.found)};
  } catch (const std::exception& error) {
    return Problem{QString::fromUtf8(error.what()), shown_path(name_from_path(path)), {}, {}};
  }
}

}  // namespace

QString Problem::reason() const {
  QStringList parts;
  if (!expected.isEmpty()) parts << QObject::tr("expected %1").arg(expected);
  if (!found.isEmpty()) parts << QObject::tr("found %1").arg(found);
  return parts.join(", ");
}

QString Problem::details() const {
  QStringList lines{QObject::tr("What: %1").arg(message)};
  if (!place.isEmpty()) lines << QObject::tr("Where: %1").arg(place);
  if (!expected.isEmpty()) lines << QObject::tr("Expected: %1").arg(expected);
  if (!found.isEmpty()) lines << QObject::tr("Found: %1").arg(found);
  return lines.join('\n');
}

RecordOpener::RecordOpener(QObject* parent) : QObject(parent) {
  pool_.setMaxThreadCount(1);
}

RecordOpener::~RecordOpener() {
  pool_.waitForDone();
}

void RecordOpener::open(const QString& path) {
  ++pending_;
  auto* watcher = new QFutureWatcher<Outcome>(this);
  connect(watcher, &QFutureWatcher<Outcome>::finished, this, [this, watcher, path] {
    watcher->deleteLater();
    --pending_;
    const Outcome outcome = watcher->result();
    if (const auto* good = std::get_if<Opened>(&outcome)) {
      emit opened(path, good->record, good->layer.value_or(-1));
    } else if (const auto* sweep = std::get_if<views::SweepPtr>(&outcome)) {
      emit sweep_opened(path, *sweep);
    } else if (const auto* bench = std::get_if<views::BenchPtr>(&outcome)) {
      emit bench_opened(path, *bench);
    } else {
      emit failed(path, std::get<Problem>(outcome));
    }
  });
  watcher->setFuture(QtConcurrent::run(&pool_, open_file, path_of(path)));
}

}  // namespace headroom::gui
