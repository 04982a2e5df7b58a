// SPDX-License-Identifier: GPL-3.0-or-later
// What the desk does with a talk's files: saving, checking, packing and exporting, beside the window.
#include <QDir>
#include <QFileDialog>
#include <QFileInfo>
#include <algorithm>

#include "base/error.h"
#include "gui/file_names.h"
#include "gui/settings_store.h"
#include "gui/talk_desk.h"
#include "gui/talk_export.h"
#include "views/common/banner_bar.h"
#include "views/talk/talk_panel.h"

namespace headroom::gui {

void TalkDesk::save() {
  if (book_.file().isEmpty()) return save_as();
  save_to(book_.file());
}

void TalkDesk::save_as() {
  QString start = book_.file();
  if (start.isEmpty()) start = QDir::homePath() + "/" + tr("talk") + "." + views::talk_suffix;
  QString file = QFileDialog::getSaveFileName(around_.window, tr("Save talk"), start, talk_filter());
  if (file.isEmpty()) {
    after_save_ = nullptr;
    return;
  }
  if (QFileInfo(file).suffix() != views::talk_suffix) file += QString(".") + views::talk_suffix;
  save_to(file);
}

void TalkDesk::save_to(const QString& file) {
  if (work_) return;
  around_.banners->remove("talk:save");
  const auto talk = std::make_shared<views::Talk>(views::without_spare_records(book_.talk()));
  const int index = book_.undo_stack().index();
  start_work(
      tr("Saving…"),
      [talk, file](std::stop_token stop, const views::TalkProgress& progress) {
        views::take_hashes(*talk, stop, progress);
        views::write_talk(*talk, path_of(file));
      },
      [this, talk, file, index](const QString& problem) {
        const auto then = std::exchange(after_save_, nullptr);
        if (!problem.isEmpty()) return tell("save", tr("The talk was not saved."), problem, false);
        around_.settings->add_recent_file(file);
        if (book_.undo_stack().index() == index)
          book_.saved(file, *talk);
        else  // changed meanwhile
          book_.take_hashes_of(*talk);
        if (then && !book_.changed_since_saved()) then();
      });
}

void TalkDesk::check() {
  if (!has_steps()) return;
  around_.banners->remove("talk:check");
  const auto faults = std::make_shared<std::vector<views::TalkFault>>();
  const views::Talk talk = views::without_spare_records(book_.talk());
  around_.show_dock();
  start_work(
      tr("Checking…"),
      [talk, faults](std::stop_token stop, const views::TalkProgress& progress) {
        *faults = views::check_talk(talk, stop, progress);
      },
      [this, faults](const QString& problem) {
        if (!problem.isEmpty()) return tell("check", tr("The talk was not checked."), problem, false);
        panel_->show_faults(*faults);
      });
}

void TalkDesk::pack() {
  const QFileInfo file(book_.file());
  const QString name = book_.file().isEmpty() ? tr("talk") : file.completeBaseName();
  const QString folder = QFileDialog::getSaveFileName(
      around_.window, tr("Pack the talk into a new folder"),
      (book_.file().isEmpty() ? QDir::homePath() : file.absolutePath()) + "/" + name + "-packed");
  if (!folder.isEmpty()) pack_to(folder);
}

void TalkDesk::pack_to(const QString& folder) {
  around_.banners->remove("talk:pack");
  const views::Talk talk = book_.talk();
  const QString name = book_.file().isEmpty() ? tr("talk") : QFileInfo(book_.file()).completeBaseName();
  start_work(
      tr("Packing…"),
      [talk, folder, name](std::stop_token stop, const views::TalkProgress& progress) {
        views::pack_talk(talk, bytes_of_name(name), path_of(folder), stop, progress);
      },
      [this, folder](const QString& problem) {
        if (!problem.isEmpty())
          return tell("pack", tr("The talk was not packed; nothing was left behind."), problem, false);
        tell("pack", tr("Packed: %1").arg(shown_path(folder)),
             tr("The talk and copies of its records and sweeps. A record contains the whole prompt."), true, folder);
      });
}

void TalkDesk::export_talk() {
  if (!has_steps()) return;
  const QFileInfo file(book_.file());
  const QString start = book_.file().isEmpty() ? QDir::homePath() + "/" + tr("talk")
                                               : file.absolutePath() + "/" + file.completeBaseName();
  QString chosen;
  const QString pdf = tr("PDF, a page a step (*.pdf)"), html = tr("One HTML file to explore (*.html)"),
                png = tr("Pictures in a new folder (*)");
  const QString target = QFileDialog::getSaveFileName(around_.window, tr("Export talk"), start + ".pdf",
                                                      pdf + ";;" + html + ";;" + png, &chosen);
  if (target.isEmpty()) return;
  const QString suffix = QFileInfo(target).suffix().toLower();
  if (chosen == html && suffix != "html") return export_to(target + ".html");
  if (chosen == pdf && suffix != "pdf" && suffix != "html") return export_to(target + ".pdf");
  export_to(target);
}

void TalkDesk::export_to(const QString& target) {
  if (exporting_ || work_ || !has_steps()) return;
  around_.banners->remove("talk:export");
  with_records([this, target] {
    exporting_ = true;
    stop_export_ = false;
    TalkExport job;
    job.talk = book_.talk();
    if (job.talk.title.isEmpty()) job.talk.title = QFileInfo(book_.file()).completeBaseName();
    job.records = book_.records();
    job.sweeps = book_.sweeps();
    job.tiles = around_.tiles;
    job.given_up = [this] { return stop_export_; };
    job.progress = [this](int step, int count) {
      panel_->show_work(tr("Exporting step %1 of %2…").arg(step).arg(count));
    };
    QString problem;
    TalkExported written;
    try {
      written = gui::export_talk(job, target);
    } catch (const Error& error) {
      problem = talk_error_words(error);
    }
    exporting_ = false;
    panel_->show_work({});
    if (!problem.isEmpty()) return tell("export", tr("The talk was not exported."), problem, false);
    tell("export", tr("Saved: %1").arg(shown_path(target)), written.words(), true, target);
  });
}

}  // namespace headroom::gui
