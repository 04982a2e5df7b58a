// SPDX-License-Identifier: GPL-3.0-or-later
// The window and the engine's work: the Jobs dock that comes and goes, restarting, and closing while something runs.
#include <QDockWidget>

#include "gui/actions.h"
#include "gui/close_question.h"
#include "gui/file_names.h"
#include "gui/main_window.h"
#include "gui/talk_desk.h"
#include "views/common/banner_bar.h"
#include "views/common/format.h"
#include "views/docks/jobs_dock.h"

namespace headroom::gui {
namespace {

constexpr int dock_stays_ms = 4000;     // with nothing running any more: long enough to see how it ended
constexpr int stop_patience_ms = 6000;  // a job stops within a second; the engine itself gives it three

}  // namespace

void MainWindow::job_changed(const views::JobInfo& job) {
  using State = views::JobInfo::State;
  jobs_view_->show_job(job);
  if (job.state == State::running)
    show_jobs_dock(job.id);
  else
    banners_->remove("part:" + job.id);
  if (jobs_.anything_running()) {
    jobs_dock_timer_.stop();
    return;
  }
  if (jobs_dock_opened_ && !jobs_dock_timer_.isActive()) jobs_dock_timer_.start(dock_stays_ms);
  if (closing_ == Closing::when_done && job.state == State::failed) {
    // Why must be read before the window goes.
    closing_ = Closing::no;
    banners_->remove("closing");
  } else if (closing_ == Closing::when_done || closing_ == Closing::stopping) {
    QTimer::singleShot(0, this, &MainWindow::close_now);
  }
}

void MainWindow::show_jobs_dock(const QString& job) {
  if (presenting_ || jobs_shown_.contains(job)) return;
  jobs_shown_.insert(job);
  if (!docks_[2]->isHidden()) return;
  jobs_dock_opened_ = true;
  docks_[2]->show();
}

void MainWindow::put_jobs_dock_away() {
  if (!jobs_dock_opened_ || jobs_.anything_running() || presenting_) return;
  if (docks_[2]->underMouse()) return jobs_dock_timer_.start(dock_stays_ms);  // being read
  jobs_dock_opened_ = false;
  docks_[2]->hide();
}

void MainWindow::ask_about_part(const QString& job, const QString& name, qint64 bytes) {
  using Transfer = JobTracker::Transfer;
  if (closing_ != Closing::no) return jobs_.transfer(job, Transfer::go_on);  // nobody is there to ask
  const auto choose = [this, job](Transfer how) { return [this, job, how] { jobs_.transfer(job, how); }; };
  views::Banner banner;
  banner.key = "part:" + job;
  banner.title = tr("A part of %1 is here already").arg(shown_path(name));
  banner.text = tr("%1 came over before the connection was cut. If the file has changed since, it is fetched anew.")
                    .arg(views::number_locale().formattedDataSize(bytes, 1, QLocale::DataSizeSIFormat));
  banner.buttons = {{tr("Continue"), choose(Transfer::go_on)},
                    {tr("Start again"), choose(Transfer::anew)},
                    {tr("Leave it there"), choose(Transfer::leave)}};
  banner.dismissed = choose(Transfer::leave);
  banners_->show_banner(banner);
}

void MainWindow::start_engine() {
  banners_->remove("engine");
  banners_->remove("restart");
  const bool come_back = settings_.engine_left() && !options_.quiet;
  engine_.start(engine_command(settings_.engine(), options_.engine, come_back));
}

void MainWindow::restart_engine() {
  const bool loses_jobs = jobs_.anything_running() && !(engine_.remote() && engine_.keeps_jobs());
  const auto now = [this] {
    if (!engine_.remote() && engine_.state() == EngineClient::State::ready) {
      engine_.end();
      settings_.set_engine_left(false);
    }
    start_engine();
  };
  if (!loses_jobs) return now();
  views::Banner banner;
  banner.kind = views::Banner::Kind::warning;
  banner.key = "restart";
  banner.title = tr("Restarting the engine ends what it works on.");
  banner.text = jobs_.running_title();
  banner.buttons = {{tr("Restart anyway"), now}};
  banners_->show_banner(banner);
}

bool MainWindow::may_close() {
  if (!talks_->may_leave([this] { close(); })) return false;
  if (closing_ == Closing::now || !jobs_.anything_running()) return true;
  // A far engine goes on by itself, and whoever connects again finds the jobs.
  if (engine_.remote() && engine_.keeps_jobs()) return true;
  ask_before_closing();
  return false;
}

void MainWindow::ask_before_closing() {
  // One that was answered may still be there, until the event loop takes it away.
  if (auto* asked = findChild<CloseQuestion*>(); asked && asked->isVisible()) return asked->raise();
  auto* question = new CloseQuestion(jobs_.running_title(), jobs_.count_running(), this);
  question->setAttribute(Qt::WA_DeleteOnClose);
  connect(question, &CloseQuestion::wait_chosen, this, &MainWindow::close_when_done);
  connect(question, &CloseQuestion::background_chosen, this, &MainWindow::close_and_keep_jobs);
  connect(question, &CloseQuestion::stop_chosen, this, &MainWindow::stop_and_close);
  question->open();
}

void MainWindow::close_when_done() {
  if (!jobs_.anything_running()) return close_now();  // it ended while one read the question
  closing_ = Closing::when_done;
  views::Banner banner;
  banner.key = "closing";
  banner.title = tr("The window closes when the job is done.");
  banner.buttons = {{tr("Keep it open"), [this] { closing_ = Closing::no; }}};
  banner.dismissed = [this] { closing_ = Closing::no; };
  banners_->show_banner(banner);
}

void MainWindow::close_and_keep_jobs() {
  engine_.keep_jobs([this](const nlohmann::json&, const protocol::ErrorInfo* error) {
    if (!error) {
      settings_.set_engine_left(true);
      return close_now();
    }
    views::Banner banner;
    banner.kind = views::Banner::Kind::warning;
    banner.key = "closing";
    banner.title = tr("The engine cannot go on without the window.");
    banner.text = QString::fromStdString(error->line());
    banners_->show_banner(banner);
  });
}

void MainWindow::stop_and_close() {
  if (!jobs_.anything_running()) return close_now();
  closing_ = Closing::stopping;
  banners_->remove("closing");
  jobs_.cancel_all();
  QTimer::singleShot(stop_patience_ms, this, [this] {
    if (closing_ != Closing::stopping) return;
    engine_.kill(tr("The engine did not stop"));
    close_now();
  });
}

void MainWindow::close_now() {
  closing_ = Closing::now;
  if (!engine_.keeps_jobs() || (!engine_.remote() && !jobs_.anything_running())) settings_.set_engine_left(false);
  close();
}

}  // namespace headroom::gui
