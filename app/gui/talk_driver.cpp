// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/talk_driver.h"

#include <QFileInfo>
#include <cstdio>

#include "base/error.h"
#include "base/utf8.h"
#include "gui/file_names.h"
#include "gui/talk_export.h"
#include "views/common/opening.h"
#include "views/talk/talk_check.h"

namespace headroom::gui {
namespace {

void say_problem(const std::string& text) {
  std::fprintf(stderr, "headroom-gui: %s\n", printable_text(text).c_str());
}

void say_result(const QString& text) {
  std::printf("%s\n", printable_text(bytes_of_name(text)).c_str());
}

template <typename Work>
int exit_code_of(Work&& work) {
  try {
    return work();
  } catch (const Error& error) {
    say_problem(error.what());
    return static_cast<int>(error.kind());
  } catch (const std::exception& error) {
    say_problem(error.what());
    return static_cast<int>(ErrorKind::internal);
  }
}

}  // namespace

int export_talk_file(const CommandLine& line) {
  return exit_code_of([&] {
    views::Theme::instance().set_mode(line.theme.value_or(views::ThemeMode::light));
    TalkExport job;
    job.talk = views::read_talk(path_of(line.records.first()));
    if (job.talk.title.isEmpty()) job.talk.title = QFileInfo(line.records.first()).completeBaseName();
    for (const views::TalkRecord& wanted : job.talk.records) {
      const views::RecordPtr record = record::RunRecord::open(wanted.path);
      if (record->meta().run_id != wanted.run_id)
        throw input_error(wanted.path.native(), "is the record of another run", "run " + wanted.run_id,
                          "run " + record->meta().run_id);
      job.records.push_back(record);
    }
    for (const views::TalkSweep& sweep : job.talk.sweeps) job.sweeps.push_back(views::read_open_sweep(sweep.path));
    say_result(line.output + ": " + export_talk(job, line.output).words());
    return 0;
  });
}

int check_talk_file(const CommandLine& line) {
  return exit_code_of([&] {
    const views::Talk talk = views::read_talk(path_of(line.records.first()));
    const auto faults = views::check_talk(talk);
    for (const views::TalkFault& fault : faults)
      say_problem((fault.step < 0 ? std::string() : "step " + std::to_string(fault.step + 1) + ": ") +
                  fault.line().toStdString());
    if (!faults.empty()) return static_cast<int>(ErrorKind::input);
    QString held = QObject::tr("%1 steps, %2 records").arg(talk.steps.size()).arg(talk.records.size());
    if (!talk.sweeps.empty()) held += QObject::tr(", %1 sweeps").arg(talk.sweeps.size());
    say_result(line.records.first() + ": " + QObject::tr("%1: all there and unchanged").arg(held));
    return 0;
  });
}

int pack_talk_file(const CommandLine& line) {
  return exit_code_of([&] {
    const QString& file = line.records.first();
    const views::Talk talk = views::read_talk(path_of(file));
    const auto packed = views::pack_talk(talk, path_of(file).stem().native(), path_of(line.output));
    say_result(name_from_path(packed));
    return 0;
  });
}

}  // namespace headroom::gui
