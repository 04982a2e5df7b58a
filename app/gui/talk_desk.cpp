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
#include "gui/talk_pictures.h"
#include "views/common/banner_bar.h"
#include "views/common/view_state_json.h"
#include "views/map/attention_page.h"
#include "views/prompt/prompt_panel.h"
#include "views/talk/talk_panel.h"

namespace headroom::gui {
namespace {

constexpr int tick_ms = 100;

const views::PromptPanel& prompt_text_of(const QVector<Page>& pages) {
  return *static_cast<views::AttentionPage*>(pages[page_index(pages, "attention")].widget)->prompt();
}

}  // namespace

QString talk_filter() {
  return QObject::tr("Talks (*.%1);;All files (*)").arg(views::talk_suffix);
}

QString talk_error_words(const std::exception& error) {
  return shown_path(name_from_bytes(error.what()));
}

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
  connect(&opener_, &RecordOpener::sweep_opened, this, &TalkDesk::sweep_here);
  connect(&opener_, &RecordOpener::bench_opened, this, [this](const QString& path) {
    missing_ << tr("%1 is a bench result, no record").arg(shown_path(path));
    finish_waiting();
  });
  connect(&opener_, &RecordOpener::failed, this, &TalkDesk::record_missing);
  pictures_ = std::make_unique<TalkPictures>(around_, book_, *panel_);
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
    return tell("open", tr("The talk was not opened."), talk_error_words(error), false);
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
  for (std::size_t i = 0; i < book_.talk().sweeps.size(); ++i) {
    if (book_.sweeps()[i]) continue;
    const views::TalkSweep& wanted = book_.talk().sweeps[i];
    for (const views::SweepPtr& open : around_.selection->state().sweeps)
      if (!open->growing && open->path.lexically_normal() == wanted.path) book_.set_sweep(i, open);
    if (!book_.sweeps()[i]) opener_.open(name_from_path(wanted.path));
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

void TalkDesk::sweep_here(const QString& path, const views::SweepPtr& sweep) {
  bool wanted = false;
  for (std::size_t i = 0; i < book_.talk().sweeps.size(); ++i) {
    if (name_from_path(book_.talk().sweeps[i].path) != path) continue;
    book_.set_sweep(i, sweep);
    wanted = true;
  }
  if (!wanted) missing_ << tr("%1 is a sweep, no record").arg(shown_path(path));
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
    wanted = views::view_of_step(talk, static_cast<std::size_t>(step), book_.records(), book_.sweeps());
  } catch (const Error& error) {
    return missing_.isEmpty() ? talk_error_words(error) : missing_.join("; ") + ".";
  }
  around_.selection->change(
      [&](views::ViewState& state) {
        // What is open stays open.
        const auto add = [](auto open, const auto& more) {
          for (const auto& one : more)
            if (std::find(open.begin(), open.end(), one) == open.end()) open.push_back(one);
          return open;
        };
        const auto index = [](const auto& list, const auto& one) {
          return static_cast<int>(std::find(list.begin(), list.end(), one) - list.begin());
        };
        if (wanted.current >= 0) {
          const views::RecordPtr record = wanted.runs[static_cast<std::size_t>(wanted.current)];
          wanted.runs = add(state.runs, wanted.runs);
          wanted.current = index(wanted.runs, record);
        } else {  // a sweep alone: the run that is open says nothing about it
          views::ViewState kept = state;
          kept.sweep_look = wanted.sweep_look;
          kept.sweeps = wanted.sweeps;
          kept.sweep = wanted.sweep;
          wanted = std::move(kept);
        }
        const views::SweepPtr sweep =
            wanted.sweep < 0 ? nullptr : wanted.sweeps[static_cast<std::size_t>(wanted.sweep)];
        wanted.sweeps = add(state.sweeps, wanted.sweeps);
        wanted.sweep = sweep ? index(wanted.sweeps, sweep) : state.sweep;
        wanted.benches = state.benches;
        wanted.bench = -1;
        state = wanted;
      },
      QStringLiteral("talk"));  // one step back leads to what was before the talk
  const int page = page_index(*around_.pages, shown.page);
  around_.show_page(page);
  scroll_prompt(*around_.pages, shown.first_token);
  pictures_->take(step, false);
  return {};
}

void TalkDesk::show_step(int step) {
  book_.set_current(step);
  around_.banners->remove("talk:step");
  if (const QString problem = apply(step); !problem.isEmpty())
    tell("step", tr("Step %1 cannot be shown.").arg(step + 1), problem, false);
  around_.selection->end_merge();
}

bool TalkDesk::may_be_a_step(const Page& page) {
  around_.banners->remove("talk:add");
  const views::ViewState& state = around_.selection->state();
  const views::SweepPtr sweep =
      page.id == QStringLiteral("budget") && views::shows_sweep(state) ? around_.selection->sweep() : nullptr;
  QString why;
  if (sweep && sweep->growing)
    why = tr("The sweep is still at work: a talk can show it when its file is whole.");
  else if (page.id == QStringLiteral("timing") && around_.selection->bench())
    why = tr("A talk cannot show a bench result: choose a view of the run, or export a picture.");
  else if (!sweep && !around_.selection->record())
    why = tr("This page shows nothing: open a run.");
  if (!why.isEmpty()) tell("add", tr("No step was made of this view."), why, false);
  return why.isEmpty();
}

void TalkDesk::add_view() {
  const Page& page = (*around_.pages)[around_.current_page()];
  if (!may_be_a_step(page)) return;
  book_.add(around_.selection->state(), page.id, prompt_text_of(*around_.pages).first_token(), page.title);
  around_.show_dock();
  pictures_->take(book_.current(), true);
}

void TalkDesk::update_step() {
  const Page& page = (*around_.pages)[around_.current_page()];
  if (book_.current() < 0 || !may_be_a_step(page)) return;
  book_.update(around_.selection->state(), page.id, prompt_text_of(*around_.pages).first_token());
  pictures_->take(book_.current(), true);
}

void TalkDesk::set_live(int step, bool on) {
  around_.banners->remove("talk:live");
  if (!on) return book_.set_live(step, std::nullopt);
  with_records([this, step] {
    try {
      const views::ViewState state =
          views::view_of_step(book_.talk(), static_cast<std::size_t>(step), book_.records(), book_.sweeps());
      if (state.current < 0) throw input_error({}, "a step of a sweep alone runs nothing");
      const auto& record = *state.runs[static_cast<std::size_t>(state.current)];
      protocol::RunSpec spec = protocol::run_spec_from_json(nlohmann::json::parse(record.meta().spec_json));
      spec.out.reset();
      protocol::validate(spec);
      book_.set_live(step, protocol::to_json(spec));
    } catch (const std::exception& error) {
      tell("live", tr("This step cannot run live: its record does not say how it was run."), talk_error_words(error),
           false);
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
      return error.kind() == ErrorKind::cancelled ? QObject::tr("Stopped.") : talk_error_words(error);
    } catch (const std::exception& error) {
      return talk_error_words(error);
    }
    return QString();
  }));
  emit changed();
}

void TalkDesk::stop_work() {
  stop_export_ = true;
  if (work_) work_->stop.request_stop();
}

}  // namespace headroom::gui
