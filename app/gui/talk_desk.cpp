// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/talk_desk.h"

#include <QDesktopServices>
#include <QFileDialog>
#include <QFileInfo>
#include <QFutureWatcher>
#include <QMessageBox>
#include <QPushButton>
#include <QStandardPaths>
#include <QUrl>
#include <QtConcurrent>
#include <algorithm>

#include "base/error.h"
#include "gui/file_names.h"
#include "gui/settings_store.h"
#include "gui/talk_export.h"
#include "views/common/banner_bar.h"
#include "views/common/view_state_json.h"
#include "views/map/attention_page.h"
#include "views/prompt/prompt_panel.h"
#include "views/talk/talk_panel.h"

namespace headroom::gui {
namespace {

constexpr int tick_ms = 100;

QString talk_filter() {
  return QObject::tr("Talks (*.%1);;All files (*)").arg(views::talk_suffix);
}

QString error_words(const std::exception& error) {
  return shown_path(name_from_bytes(error.what()));
}

const views::PromptPanel& prompt_text_of(const QVector<Page>& pages) {
  return *static_cast<views::AttentionPage*>(pages[page_index(pages, "attention")].widget)->prompt();
}

}  // namespace

/// What runs beside the window.
struct TalkDesk::Work {
  QString words;
  std::stop_source stop;
  std::atomic<std::int64_t> done{0}, total{0};
};

TalkDesk::TalkDesk(TalkSurroundings around) : QObject(around.window), around_(std::move(around)) {
  panel_ = new views::TalkPanel(&book_);
  pool_.setMaxThreadCount(1);
  connect(panel_, &views::TalkPanel::add_requested, this, &TalkDesk::add_view);
  connect(panel_, &views::TalkPanel::update_requested, this, &TalkDesk::update_step);
  connect(panel_, &views::TalkPanel::show_requested, this, &TalkDesk::show_step);
  connect(panel_, &views::TalkPanel::live_requested, this, &TalkDesk::set_live);
  connect(panel_, &views::TalkPanel::check_requested, this, &TalkDesk::check);
  connect(panel_, &views::TalkPanel::pack_requested, this, &TalkDesk::pack);
  connect(panel_, &views::TalkPanel::export_requested, this, &TalkDesk::export_talk);
  connect(panel_, &views::TalkPanel::present_requested, this, [this] { around_.present(); });
  connect(panel_, &views::TalkPanel::work_stopped, this, &TalkDesk::stop_work);
  connect(&book_, &views::TalkBook::changed, this, &TalkDesk::changed);
  connect(&book_, &views::TalkBook::state_changed, this, &TalkDesk::changed);
  connect(&opener_, &RecordOpener::opened, this,
          [this](const QString& path, const views::RecordPtr& record) { record_here(path, record); });
  connect(&opener_, &RecordOpener::failed, this, &TalkDesk::record_missing);
  connect(&tick_, &QTimer::timeout, this, [this] {
    if (!work_) return;
    const std::int64_t total = work_->total, done = work_->done;
    panel_->show_work(total > 0 ? tr("%1 %2 %").arg(work_->words).arg(100 * done / total) : work_->words);
  });
}

TalkDesk::~TalkDesk() {
  if (work_) work_->stop.request_stop();
  pool_.waitForDone();
  // The panel outlives this, and must not hear of the end.
  book_.undo_stack().disconnect();
  book_.disconnect();
}

void TalkDesk::tell(const QString& key, const QString& title, const QString& text, bool good,
                    const QString& show_folder_of) {
  views::Banner banner;
  banner.kind = good ? views::Banner::Kind::info : views::Banner::Kind::error;
  banner.key = "talk:" + key;
  banner.title = title;
  banner.text = text;
  if (!show_folder_of.isEmpty())
    banner.buttons = {
        {tr("Open"), [show_folder_of] { QDesktopServices::openUrl(QUrl::fromLocalFile(show_folder_of)); }}};
  around_.banners->show_banner(banner);
}

bool TalkDesk::may_leave(std::function<void()> then) {
  if (!book_.is_open() || !book_.changed_since_saved()) return true;
  if (question_) {
    question_->raise();
    return false;
  }
  auto* box = new QMessageBox(QMessageBox::NoIcon, tr("The talk is not saved"),
                              tr("Steps or words have changed since the talk was saved."), QMessageBox::NoButton,
                              around_.window);
  box->setObjectName("talk_question");
  box->setAttribute(Qt::WA_DeleteOnClose);
  question_ = box;
  QPushButton* keep = box->addButton(tr("Save"), QMessageBox::AcceptRole);
  QPushButton* drop = box->addButton(tr("Discard"), QMessageBox::DestructiveRole);
  box->addButton(QMessageBox::Cancel);
  box->setDefaultButton(keep);
  connect(box, &QMessageBox::buttonClicked, this, [this, keep, drop, then](QAbstractButton* button) {
    if (button == drop) {
      book_.undo_stack().setClean();
      then();
    } else if (button == keep) {
      after_save_ = then;  // not where the save fails or is given up
      save();
    }
  });
  box->open();
  return false;
}

void TalkDesk::new_talk() {
  const auto begin = [this] {
    book_.start({}, {});
    around_.show_dock();
  };
  if (may_leave(begin)) begin();
}

void TalkDesk::choose_and_open() {
  const QString file = QFileDialog::getOpenFileName(around_.window, tr("Open talk"),
                                                    QFileInfo(book_.file()).absolutePath(), talk_filter());
  if (!file.isEmpty()) open(file);
}

void TalkDesk::open(const QString& file) {
  const auto begin = [this, file] { discard_and_open(file); };
  if (may_leave(begin)) begin();
}

void TalkDesk::discard_and_open(const QString& file) {
  around_.banners->remove("talk:open");
  try {
    const views::Talk talk = views::read_talk(path_of(file));
    book_.start(talk, file);
  } catch (const Error& error) {
    return tell("open", tr("The talk was not opened."), error_words(error), false);
  }
  around_.settings->add_recent_file(file);
  around_.show_dock();
  with_records([this] {
    if (has_steps()) show_step(0);
  });
}

void TalkDesk::with_records(std::function<void()> then) {
  missing_.clear();
  waiting_ = std::move(then);
  for (std::size_t i = 0; i < book_.talk().records.size(); ++i) {
    if (book_.records()[i]) continue;
    const views::TalkRecord& wanted = book_.talk().records[i];
    // One that is open in the window is the same object there and here.
    for (const views::RecordPtr& open : around_.selection->state().runs)
      if (open->meta().run_id == wanted.run_id && open->path().lexically_normal() == wanted.path)
        book_.set_record(i, open);
    if (!book_.records()[i]) opener_.open(name_from_path(wanted.path));
  }
  finish_waiting();
}

void TalkDesk::record_here(const QString& path, const views::RecordPtr& record) {
  for (std::size_t i = 0; i < book_.talk().records.size(); ++i) {
    const views::TalkRecord& wanted = book_.talk().records[i];
    if (name_from_path(wanted.path) != path) continue;
    if (record->meta().run_id == wanted.run_id)
      book_.set_record(i, record);
    else
      missing_ << tr("%1 is the record of another run").arg(shown_path(path));
  }
  finish_waiting();
}

void TalkDesk::record_missing(const QString& path, const Problem& problem) {
  missing_ << tr("%1: %2").arg(shown_path(path), problem.message);
  finish_waiting();
}

void TalkDesk::finish_waiting() {
  if (opener_.busy() || !waiting_) return;
  if (missing_.isEmpty())
    around_.banners->remove("talk:records");
  else
    tell("records", tr("Not every record of the talk could be opened."), missing_.join("; ") + ".", false);
  const auto then = std::exchange(waiting_, nullptr);
  then();
}

QString TalkDesk::apply(int step) {
  if (step < 0 || step >= book_.count()) return tr("There is no such step.");
  const views::Talk& talk = book_.talk();
  const views::TalkStep& shown = talk.steps[static_cast<std::size_t>(step)];
  views::ViewState wanted;
  try {
    wanted = views::view_of_step(talk, static_cast<std::size_t>(step), book_.records());
  } catch (const Error& error) {
    return missing_.isEmpty() ? error_words(error) : missing_.join("; ") + ".";
  }
  const views::RecordPtr record = wanted.runs[static_cast<std::size_t>(wanted.current)];
  around_.selection->change(
      [&](views::ViewState& state) {
        // What is open stays open.
        std::vector<views::RecordPtr> runs = state.runs;
        for (const views::RecordPtr& run : wanted.runs)
          if (std::find(runs.begin(), runs.end(), run) == runs.end()) runs.push_back(run);
        wanted.current = static_cast<int>(std::find(runs.begin(), runs.end(), record) - runs.begin());
        wanted.runs = std::move(runs);
        wanted.sweeps = state.sweeps;
        wanted.sweep = state.sweep;
        state = wanted;
      },
      QStringLiteral("talk"));  // one step back leads to what was before the talk
  const int page = page_index(*around_.pages, shown.page);
  around_.show_page(page);
  scroll_prompt(*around_.pages, shown.first_token);
  return {};
}

void TalkDesk::show_step(int step) {
  book_.set_current(step);
  around_.banners->remove("talk:step");
  if (const QString problem = apply(step); !problem.isEmpty())
    tell("step", tr("Step %1 cannot be shown.").arg(step + 1), problem, false);
  around_.selection->end_merge();
}

void TalkDesk::add_view() {
  const views::RecordPtr record = around_.selection->record();
  if (!record) return;
  const Page& page = (*around_.pages)[around_.current_page()];
  book_.add(around_.selection->state(), page.id, prompt_text_of(*around_.pages).first_token(), page.title);
  around_.show_dock();
}

void TalkDesk::update_step() {
  if (!around_.selection->record() || book_.current() < 0) return;
  const Page& page = (*around_.pages)[around_.current_page()];
  book_.update(around_.selection->state(), page.id, prompt_text_of(*around_.pages).first_token());
}

void TalkDesk::set_live(int step, bool on) {
  around_.banners->remove("talk:live");
  if (!on) return book_.set_live(step, std::nullopt);
  with_records([this, step] {
    try {
      const views::ViewState state = views::view_of_step(book_.talk(), static_cast<std::size_t>(step), book_.records());
      const auto& record = *state.runs[static_cast<std::size_t>(state.current)];
      protocol::RunSpec spec = protocol::run_spec_from_json(nlohmann::json::parse(record.meta().spec_json));
      spec.out.reset();
      protocol::validate(spec);
      book_.set_live(step, protocol::to_json(spec));
    } catch (const std::exception& error) {
      tell("live", tr("This step cannot run live: its record does not say how it was run."), error_words(error), false);
      emit book_.current_changed();  // the box is off again
    }
  });
}

void TalkDesk::start_work(const QString& words, std::function<void(std::stop_token, const views::TalkProgress&)> work,
                          std::function<void(const QString& problem)> done) {
  if (work_) return;
  work_ = std::make_shared<Work>();
  work_->words = words;
  panel_->show_work(words);
  tick_.start(tick_ms);
  auto* watcher = new QFutureWatcher<QString>(this);
  connect(watcher, &QFutureWatcher<QString>::finished, this, [this, watcher, done] {
    watcher->deleteLater();
    tick_.stop();
    work_.reset();
    panel_->show_work({});
    done(watcher->result());
    emit changed();
  });
  watcher->setFuture(QtConcurrent::run(&pool_, [state = work_, work] {
    try {
      work(state->stop.get_token(), [&](std::int64_t bytes, std::int64_t total) {
        state->done = bytes;
        state->total = total;
      });
    } catch (const Error& error) {
      return error.kind() == ErrorKind::cancelled ? QObject::tr("Stopped.") : error_words(error);
    } catch (const std::exception& error) {
      return error_words(error);
    }
    return QString();
  }));
  emit changed();
}

void TalkDesk::stop_work() {
  stop_export_ = true;
  if (work_) work_->stop.request_stop();
}

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
          book_.saved(file, talk->records);
        else  // changed meanwhile
          for (const views::TalkRecord& record : talk->records)
            book_.set_hash(record.path, record.run_id, record.sha256);
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
             tr("The talk and copies of its records. A record contains the whole prompt."), true, folder);
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
      problem = error_words(error);
    }
    exporting_ = false;
    panel_->show_work({});
    if (!problem.isEmpty()) return tell("export", tr("The talk was not exported."), problem, false);
    tell("export", tr("Saved: %1").arg(shown_path(target)), written.words(), true, target);
  });
}

}  // namespace headroom::gui
