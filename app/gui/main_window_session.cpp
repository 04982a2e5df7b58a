// SPDX-License-Identifier: GPL-3.0-or-later
// The last session: written after changes and on closing, brought back on opening. What is no longer there is said, and
// the rest comes back all the same.
#include <QDockWidget>
#include <QStackedWidget>
#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "gui/actions.h"
#include "gui/file_names.h"
#include "gui/main_window.h"
#include "gui/window_dialogs.h"
#include "views/common/banner_bar.h"
#include "views/common/view_state_json.h"

namespace headroom::gui {
namespace {

constexpr int session_rest_ms = 2000;  // between two writings while things change

QString name_of_file(const std::filesystem::path& file) {
  return shown_path(name_from_path(file.filename()));
}

/// Sides of Compare whose record did not come back follow the Selection again.
void forget_missing(nlohmann::json& state, const std::vector<views::RecordPtr>& records) {
  for (auto& [key, value] : state["display"].items()) {
    if (!value.is_object() || !value.contains("record") || !value["record"].is_number_integer()) continue;
    const auto number = value["record"].get<std::int64_t>();
    if (number >= 0 && !records[static_cast<std::size_t>(number)]) value = {{"record", -1}, {"method", ""}};
  }
}

}  // namespace

/// Records of the last session while they are opened.
struct ReturningSession {
  Session session;
  std::vector<views::RecordPtr> records;
  std::vector<QString> paths;  ///< empty once the answer has come
  QStringList missing, replaced;
  int waiting = 0;
};

void MainWindow::watch_session() {
  session_timer_.setSingleShot(true);
  session_timer_.setInterval(session_rest_ms);
  connect(&session_timer_, &QTimer::timeout, this, &MainWindow::save_session);
  if (options_.quiet) return;
  const auto later = [this] {
    if (!session_timer_.isActive()) session_timer_.start();
  };
  connect(&selection_, &views::Selection::changed, this, later);
  connect(stack_, &QStackedWidget::currentChanged, this, later);
  for (QDockWidget* dock : docks_) {
    connect(dock, &QDockWidget::visibilityChanged, this, later);
    connect(dock, &QDockWidget::dockLocationChanged, this, later);
  }
}

void MainWindow::save_session() {
  if (options_.quiet || returning_ || presenting_) return;
  layout_.save();
  session_.write(session_of(selection_.state(), pages_[current_page()].id));
}

bool MainWindow::return_to_session() {
  std::optional<Session> found;
  try {
    found = session_.read();
  } catch (const Error& error) {
    views::Banner banner;
    banner.kind = views::Banner::Kind::warning;
    banner.key = "session";
    banner.title = tr("The last session does not come back.");
    banner.text = QString::fromStdString(error.message());
    banner.details = QString::fromUtf8(error.what());
    banners_->show_banner(banner);
  }
  if (!found) return false;
  QStringList gone;
  for (const std::filesystem::path& file : found->sweeps) {
    std::error_code failed;
    if (!std::filesystem::exists(file, failed)) {
      gone << name_of_file(file);
      continue;
    }
    const QString sweep = name_from_path(file);
    quiet_sweeps_.insert(sweep);
    open_record(sweep);
  }
  for (std::size_t i = 0; i < found->benches.size(); ++i) {
    std::error_code failed;
    if (!std::filesystem::exists(found->benches[i], failed)) {
      gone << name_of_file(found->benches[i]);
      continue;
    }
    const QString bench = name_from_path(found->benches[i]);
    returning_benches_[bench] = static_cast<int>(i) == found->bench;
    open_record(bench);
  }
  if (!returning_benches_.isEmpty()) show_page(page_index(pages_, QString::fromStdString(found->page)));
  if (found->records.empty()) {
    if (!gone.isEmpty())
      say("session", tr("Not all of the last session comes back."), tr("No longer there: %1.").arg(gone.join(tr(", "))),
          true);
    return false;
  }
  returning_ = std::make_shared<ReturningSession>();
  returning_->missing = gone;
  returning_->records.resize(found->records.size());
  returning_->paths.resize(found->records.size());
  returning_->session = std::move(*found);
  for (std::size_t i = 0; i < returning_->paths.size(); ++i) {
    const std::filesystem::path& file = returning_->session.records[i].file;
    std::error_code failed;
    if (!std::filesystem::exists(file, failed)) {
      returning_->missing << name_of_file(file);
      continue;
    }
    returning_->paths[i] = name_from_path(file);
    ++returning_->waiting;
  }
  if (returning_->waiting == 0) {
    finish_return();
    return false;
  }
  show_page(page_index(pages_, QString::fromStdString(returning_->session.page)));
  const std::vector<QString> paths = returning_->paths;
  for (const QString& path : paths)
    if (!path.isEmpty()) open_record(path);
  return true;
}

bool MainWindow::record_returned(const QString& path, const views::RecordPtr& record) {
  if (!returning_ || path.isEmpty()) return false;
  const auto at = std::find(returning_->paths.begin(), returning_->paths.end(), path);
  if (at == returning_->paths.end()) return false;
  at->clear();
  const auto index = static_cast<std::size_t>(at - returning_->paths.begin());
  returning_->records[index] = record;
  if (record && record->meta().run_id != returning_->session.records[index].run_id)
    returning_->replaced << name_of_file(record->path());
  if (--returning_->waiting == 0) finish_return();
  return record != nullptr;  // what failed has its own banner besides
}

void MainWindow::finish_return() {
  const std::shared_ptr<ReturningSession> back = std::exchange(returning_, nullptr);
  Session& session = back->session;
  const views::RecordPtr shown = session.shown < 0 ? nullptr : back->records[static_cast<std::size_t>(session.shown)];
  std::vector<views::RecordPtr> open;
  for (const views::RecordPtr& record : back->records)
    if (record) open.push_back(record);
  bool placed = false;
  const bool same = shown && shown->meta().run_id == session.records[static_cast<std::size_t>(session.shown)].run_id;
  // Whoever has opened something meanwhile looks at that.
  if (same && !selection_.record()) {
    try {
      forget_missing(session.state, back->records);
      views::ViewState state = views::view_state_from_json(session.state, back->records, "the last session");
      std::erase(state.runs, nullptr);
      state.sweeps = selection_.state().sweeps;  // those that are read already
      state.sweep = selection_.state().sweep;
      state.benches = selection_.state().benches;
      state.bench = selection_.state().bench;
      state.current = static_cast<int>(std::find(state.runs.begin(), state.runs.end(), shown) - state.runs.begin());
      placed = views::misfits(state).empty();
      if (placed) selection_.set_state(std::move(state));
    } catch (const std::exception&) {
      placed = false;  // the records come back, at their usual places
    }
  }
  if (same && !placed && !selection_.record()) back->replaced << name_of_file(shown->path());  // the place is not in it
  if (!placed && !open.empty() && !selection_.record()) selection_.open_record(shown ? shown : open.front());
  for (const views::RecordPtr& record : open) selection_.add_record(record);
  if (shown) settings_.set_last_record(name_from_path(shown->path()));

  QStringList words;
  if (!back->missing.isEmpty()) words << tr("No longer there: %1.").arg(back->missing.join(tr(", ")));
  if (!back->replaced.isEmpty()) words << tr("Holds another run now: %1.").arg(back->replaced.join(tr(", ")));
  if (words.isEmpty()) return;
  views::Banner banner;
  banner.kind = views::Banner::Kind::warning;
  banner.key = "session";
  banner.title = open.empty() ? tr("The last session does not come back.")
                              : tr("The last session came back without some of its records.");
  if (!open.empty() && back->missing.isEmpty()) banner.title = tr("Some records of the last session have changed.");
  banner.text = words.join(' ');
  banner.buttons = {{tr("Open another…"), [this] { actions_->open_run->trigger(); }}};
  banners_->show_banner(banner);
}

}  // namespace headroom::gui
