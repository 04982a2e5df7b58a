// SPDX-License-Identifier: GPL-3.0-or-later
// How the window takes records, runs and bad news: what opening, dropping, starting and failing do.
#include <QDir>
#include <QDockWidget>
#include <QFileInfo>
#include <algorithm>
#include <filesystem>

#include "base/paths.h"
#include "gui/actions.h"
#include "gui/file_names.h"
#include "gui/hint_bar.h"
#include "gui/main_window.h"
#include "gui/new_run_dialog.h"
#include "gui/talk_desk.h"
#include "gui/window_dialogs.h"
#include "views/common/banner_bar.h"
#include "views/common/format.h"

namespace headroom::gui {
namespace {

/// "place: message (expected …, found …)", without the place where the reader knows it.
QString sentence(const Problem& problem, const QString& known_place) {
  QString text = problem.message;
  if (!problem.place.isEmpty() && problem.place != known_place) text = problem.place + ": " + text;
  if (!problem.reason().isEmpty()) text += " (" + problem.reason() + ")";
  return text + ".";
}

}  // namespace

void MainWindow::open_path(const QString& path) {
  const QFileInfo file(path);
  const QString suffix = file.suffix().toLower();
  NewRunRequest request;
  if (file.isDir() || suffix == "gguf" || suffix == "safetensors") {
    request.model = suffix == "safetensors" ? file.absolutePath() : path;
    return new_run(request);
  }
  if (suffix == "h5" || suffix == "hdf5" || views::is_bench_name(path_of(path))) return open_record(path);
  if (suffix == views::talk_suffix) return talks_->open(path);
  request.prompt_file = path;
  new_run(request);
}

void MainWindow::open_record(const QString& path) {
  opener_.open(path);
}

void MainWindow::open_first_record() {
  if (!options_.records.isEmpty()) {
    for (const QString& file : options_.records) {
      if (QFileInfo(file).suffix().toLower() == views::talk_suffix)
        talks_->open(file);
      else
        open_record(file);
    }
    return;
  }
  if (options_.quiet) return;  // pictures show what was asked for
  if (return_to_session()) return;
  const QString last = settings_.last_record();
  std::error_code failed;
  const QString first = !last.isEmpty() && std::filesystem::exists(path_of(last), failed) ? last : samples_.first;
  if (!first.isEmpty()) open_record(first);
  // On the first start the Budget page is full, too; the record is what one sees first.
  if (const QString sweep = last.isEmpty() ? bundled_sweep() : QString(); !sweep.isEmpty()) {
    quiet_sweeps_.insert(sweep);
    open_record(sweep);
  }
}

void MainWindow::add_samples() {
  samples_ = find_sample_records();
  if (!samples_.problem.isEmpty()) {
    views::Banner banner;
    banner.kind = views::Banner::Kind::warning;
    banner.key = "samples";
    banner.title = tr("The samples that ship with the program are not listed.");
    banner.text = samples_.problem;
    banners_->show_banner(banner);
  }
  QStringList titles, hints;
  for (const SampleRecord& sample : samples_.samples) {
    titles << sample.title;
    hints << sample.about;
  }
  const QVector<QAction*> actions = actions_->add_samples(titles, hints);
  for (int i = 0; i < actions.size(); ++i)
    connect(actions[i], &QAction::triggered, this, [this, sample = samples_.samples[i]] { try_sample(sample); });
  hints_->set_samples(actions);
}

void MainWindow::try_sample(const SampleRecord& sample) {
  show_page(page_index(pages_, "overview"));
  open_record(sample.path);
  views::Banner banner;
  banner.key = "sample";
  banner.title = tr("A recorded sample.");
  banner.text = sample.about;
  if (!sample.model.isEmpty()) {
    banner.buttons = {{tr("Run this model here…"), [this, model = sample.model] {
                         NewRunRequest request;
                         request.model = model;
                         new_run(request);
                       }}};
  }
  banners_->show_banner(banner);
}

void MainWindow::record_opened(const QString& path, const views::RecordPtr& record, int layer) {
  banners_->remove("record:" + path);
  if (record_returned(path, record)) return;
  if (finished_runs_.remove(path) && selection_.record()) return announce_run(path, record, layer);
  views::RecordPtr outdated;
  for (const views::RecordPtr& open : selection_.state().runs) {
    if (open->path() != record->path()) continue;
    if (open->file_change() != record::FileChange::none) {
      outdated = open;  // the new one takes its place
    } else if (open->meta().run_id == record->meta().run_id) {
      selection_.open_record(open);
      return;
    }
  }
  selection_.open_record(record, layer < 0 ? std::nullopt : std::optional<int>(layer));
  if (outdated) {
    banners_->remove("changed:" + path);
    selection_.change([&](views::ViewState& state) {
      std::erase(state.runs, outdated);
      state.current = static_cast<int>(std::find(state.runs.begin(), state.runs.end(), record) - state.runs.begin());
    });
  }
  if (options_.quiet) return;
  settings_.add_recent_file(path);
  settings_.set_last_record(path);
}

void MainWindow::announce_run(const QString& path, const views::RecordPtr& record, int layer) {
  const bool of_sample = sample_runs_.remove(path);
  selection_.add_record(record);
  settings_.add_recent_file(path);
  if (const auto exact = exact_runs_.find(path); exact != exact_runs_.end()) {
    exact_run_done(record, exact->second);
    exact_runs_.erase(exact);
    return;
  }
  views::Banner banner;
  banner.key = "run:" + path;
  const QString name = shown_path(name_from_path(record->path().filename()));
  banner.title = (record->meta().complete ? tr("Done: %1") : tr("Stopped, what was finished is kept: %1")).arg(name);
  QStringList methods;
  for (const auto& method : record->methods()) methods << QString::fromStdString(method.id);
  banner.text = tr("%1 tokens · %2").arg(views::format_count(record->length()), methods.join(QStringLiteral(", ")));
  banner.buttons = {{of_sample ? tr("Show its maps") : tr("Show"), [this, record, layer, path, of_sample] {
                       if (of_sample) show_page(page_index(pages_, "attention"));
                       selection_.open_record(record, layer < 0 ? std::nullopt : std::optional<int>(layer));
                       settings_.set_last_record(path);
                     }}};
  banners_->show_banner(banner);
}

void MainWindow::record_failed(const QString& path, const Problem& problem) {
  views::Banner banner;
  banner.kind = views::Banner::Kind::error;
  banner.key = "record:" + path;
  banner.title = tr("%1 was not opened.").arg(shown_path(name_from_path(path_of(path).filename())));
  banner.text = sentence(problem, shown_path(path));
  banner.details = tr("File: %1").arg(shown_path(path)) + "\n" + problem.details();
  banner.buttons = {{tr("Open another…"), [this] { actions_->open_run->trigger(); }}};
  banners_->show_banner(banner);
  finished_runs_.remove(path);
  returning_benches_.remove(path);
  if (settings_.last_record() == path) settings_.set_last_record({});
  record_returned(path, nullptr);
}

void MainWindow::record_changed(const views::RecordPtr& record, record::FileChange change) {
  const QString path = name_from_path(record->path());
  const QString key = "changed:" + path, name = shown_path(name_from_path(record->path().filename()));
  views::Banner banner;
  banner.kind = views::Banner::Kind::warning;
  banner.key = key;
  banner.details = tr("File: %1").arg(shown_path(path));
  banner.buttons = {{tr("Reload"), [this, path] { open_record(path); }}};
  switch (change) {
    case record::FileChange::none:
      return banners_->remove(key);
    case record::FileChange::replaced:
      banner.title = tr("%1 was replaced by another record.").arg(name);
      banner.text = tr("The window still shows the one that was opened.");
      break;
    case record::FileChange::changed:
      banner.title = tr("%1 was written to while it is open.").arg(name);
      banner.text = tr("What is not read yet may be damaged.");
      break;
    case record::FileChange::gone:
      banner.title = tr("%1 is no longer there.").arg(name);
      banner.text = tr("What was opened can still be looked at, until it is closed.");
      banner.buttons.clear();
  }
  banners_->show_banner(banner);
}

void MainWindow::show_notices() {
  if (settings_.dismissed("prompt_notice")) return;
  banners_->show_banner({views::Banner::Kind::info,
                         "prompt_notice",
                         tr("A record contains the whole prompt."),
                         tr("Share a record as you would share the text in it."),
                         {},
                         {},
                         [this] { settings_.dismiss("prompt_notice"); }});
}

void MainWindow::engine_died(const Problem& problem) {
  views::Banner banner;
  banner.kind = views::Banner::Kind::warning;
  banner.key = "engine";
  banner.title = problem.message + ".";
  banner.text = tr("Open records stay; new runs need the engine.");
  banner.details = problem.details();
  banner.buttons = {{tr("Restart"), [this] { start_engine(); }},
                    {tr("Connect…"), [this] { actions_->connect_engine->trigger(); }}};
  banners_->show_banner(banner);
}

void MainWindow::job_failed(const Problem& problem, const std::optional<protocol::RunSpec>& spec) {
  views::Banner banner;
  banner.kind = views::Banner::Kind::error;
  banner.key = "job";
  banner.title = spec ? tr("The run failed.") : tr("The distillation failed.");
  banner.text = sentence(problem, {});
  banner.details = problem.details();
  if (spec)
    banner.buttons = {{tr("Change and try again…"), [this, spec] {
                         NewRunRequest request;
                         request.spec = spec;
                         new_run(request);
                       }}};
  banners_->show_banner(banner);
}

void MainWindow::new_run(const NewRunRequest& request) {
  ask_new_run(
      this, engine_, settings_, request, [this](const protocol::RunSpec& spec) { start_run(spec); },
      [this](const std::string& model, const std::optional<std::string>& adapter) { distill(model, adapter); });
}

void MainWindow::distill(const std::string& model, const std::optional<std::string>& adapter) {
  // Where the engine may write; on its own machine where that is another one.
  const auto& folders = engine_.hello().folders;
  const QString name = QFileInfo(QString::fromStdString(model)).completeBaseName() + "-indexer.safetensors";
  QString folder = QString::fromStdString((cache_folder() / "indexers").string());
  if (engine_.remote() && !folders.empty()) folder = QString::fromStdString(folders.front());
  if (!engine_.remote()) QDir().mkpath(folder);
  jobs_.start_distillation(model, (folder + "/" + name).toStdString(), adapter);
}

void MainWindow::indexer_ready(const QString& path) {
  views::Banner banner;
  banner.key = "indexer";
  banner.title = tr("The indexer is ready.");
  banner.text = path;
  banner.buttons = {{tr("New run with it…"), [this, path] {
                       NewRunRequest request;
                       request.indexer = path;
                       new_run(request);
                     }}};
  banners_->show_banner(banner);
}

void MainWindow::run_budget(int tokens) {
  const views::RecordPtr record = selection_.record();
  if (!record) return;
  NewRunRequest request;
  request.spec = spec_with_budget(*record, tokens);
  if (!request.spec) return new_run({});
  place_on_engine(*request.spec, engine_);
  if (engine_.state() == EngineClient::State::ready) {
    start_run(*request.spec);
  } else {
    new_run(request);
  }
}

void MainWindow::start_run(const protocol::RunSpec& spec) {
  jobs_.start_run(spec);
}

}  // namespace headroom::gui
