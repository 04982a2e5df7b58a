// SPDX-License-Identifier: GPL-3.0-or-later
// The window, sweeps and bench results: opening, starting and following sweeps, recording one of their samples, and
// budgets by layer.
#include <QFileDialog>
#include <QFileInfo>
#include <QPointer>
#include <QSaveFile>
#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/paths.h"
#include "gui/actions.h"
#include "gui/file_names.h"
#include "gui/main_window.h"
#include "gui/new_run_dialog.h"
#include "gui/new_sweep_dialog.h"
#include "gui/record_download.h"
#include "gui/runs_table.h"
#include "views/common/banner_bar.h"
#include "views/common/format.h"
#include "views/common/record_queries.h"

namespace headroom::gui {

void MainWindow::connect_sweeps() {
  connect(&opener_, &RecordOpener::sweep_opened, this, &MainWindow::sweep_opened);
  connect(&opener_, &RecordOpener::bench_opened, this, &MainWindow::bench_opened);
  connect(&jobs_, &JobTracker::row_finished, this, [this](const QString&, const protocol::JobRow& row) {
    const QString store = QString::fromStdString(row.store);
    if (!store.endsWith(".rows.jsonl")) return;
    // Of an engine elsewhere the file comes when it is done; until then what its store holds comes row by row.
    if (engine_.remote())
      far_store_.row_finished(store);
    else
      follower_.row_finished(store.chopped(11));
  });
  connect(&far_store_, &StoreMirror::grown, &follower_, &SweepFollower::row_finished);
  connect(&follower_, &SweepFollower::grown, this, [this](const views::SweepPtr& sweep) {
    const auto& open = selection_.state().sweeps;
    const auto known =
        std::find_if(open.begin(), open.end(), [&](const auto& one) { return one->path == sweep->path; });
    if (known != open.end()) {
      // A finished file is not put back by a reading that came late.
      if ((*known)->growing) selection_.update_sweep(sweep);
      return;
    }
    const QString key = "sweep:" + name_from_path(sweep->path);
    if (banners_->contains(key)) return;
    selection_.add_sweep(sweep);
    views::Banner banner;
    banner.key = key;
    banner.title = tr("The sweep's first rows are in: %1").arg(shown_path(name_from_path(sweep->path.filename())));
    banner.text = tr("Points appear on the Budget page as samples are finished.");
    banner.buttons = {{tr("Show"), [this, sweep] { show_sweep(sweep); }}};
    banners_->show_banner(banner);
  });
  connect(&jobs_, &JobTracker::sweep_failed, this,
          [this](const QString&, const Problem& problem, const protocol::SweepSpec& spec) {
            const QString out = QString::fromStdString(spec.out), store = out + ".rows.jsonl";
            follower_.ended(engine_.remote() ? RecordDownload::place_of(engine_, out) : out);
            views::Banner banner;
            banner.kind = views::Banner::Kind::error;
            banner.key = "job";
            banner.title = tr("The sweep failed.");
            banner.text =
                problem.place.isEmpty() ? problem.message + '.' : problem.place + ": " + problem.message + '.';
            if (!problem.reason().isEmpty()) banner.text += " (" + problem.reason() + ")";
            banner.details = problem.details();
            // What lies on another machine's disk is known by its rows alone.
            banner.buttons = {{tr("Change and go on…"), [this, spec, store] {
                                 protocol::SweepSpec again = spec;
                                 again.resume = engine_.remote() ? far_store_.knows(store) : QFileInfo::exists(store);
                                 new_sweep(again);
                               }}};
            banners_->show_banner(banner);
          });
}

void MainWindow::show_sweep(const views::SweepPtr& sweep) {
  const auto& open = selection_.state().sweeps;
  const auto known = std::find_if(open.begin(), open.end(), [&](const auto& one) { return one->path == sweep->path; });
  selection_.open_sweep(known == open.end() ? sweep : *known);  // what was read last
  show_page(page_index(pages_, "budget"));
}

void MainWindow::sweep_opened(const QString& path, const views::SweepPtr& sweep) {
  banners_->remove("record:" + path);
  if (quiet_sweeps_.remove(path)) return selection_.add_sweep(sweep);
  far_store_.ended(path);
  follower_.ended(path);
  if (!options_.quiet) settings_.add_recent_file(path);
  if (finished_runs_.remove(path)) return announce_sweep(sweep);
  selection_.open_sweep(sweep);
  if (!options_.quiet) {
    show_page(page_index(pages_, "budget"));
    settings_.set_last_record(path);
  }
}

void MainWindow::bench_opened(const QString& path, const views::BenchPtr& bench) {
  banners_->remove("record:" + path);
  const auto returned = returning_benches_.find(path);
  if (returned != returning_benches_.end()) {
    if (*returned)
      selection_.open_bench(bench);
    else
      selection_.add_bench(bench);
    returning_benches_.erase(returned);
    return;
  }
  selection_.open_bench(bench);
  if (options_.quiet) return;
  settings_.add_recent_file(path);
  show_page(page_index(pages_, "timing"));
}

void MainWindow::announce_sweep(const views::SweepPtr& sweep) {
  const auto& meta = sweep->record.meta;
  selection_.add_sweep(sweep);
  views::Banner banner;
  banner.key = "sweep:" + name_from_path(sweep->path);
  banner.title = (meta.complete ? tr("Sweep done: %1") : tr("Sweep stopped, what was finished is kept: %1"))
                     .arg(shown_path(name_from_path(sweep->path.filename())));
  banner.text =
      tr("%1 rows of %2 methods").arg(views::format_count(std::ssize(sweep->record.rows))).arg(meta.methods.size());
  banner.buttons = {{tr("Show"), [this, sweep] { show_sweep(sweep); }}};
  banners_->show_banner(banner);
}

void MainWindow::new_sweep(const std::optional<protocol::SweepSpec>& spec) {
  auto* dialog = new NewSweepDialog(engine_, settings_, spec, this);
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  connect(dialog, &QDialog::accepted, this, [this, dialog] {
    try {
      const protocol::SweepSpec wanted = dialog->spec();
      jobs_.start_sweep(wanted);
      model_places_[QString::fromStdString(wanted.out)] = QString::fromStdString(wanted.model);
      if (wanted.prompts) prompt_places_[QString::fromStdString(wanted.out)] = QString::fromStdString(*wanted.prompts);
    } catch (const Error&) {
      // The start button is off while the fields do not make a spec.
    }
  });
  dialog->open();
}

void MainWindow::show_runs_table() {
  if (auto* open = findChild<RunsTable*>(); open && open->isVisible()) return open->raise();
  auto* table = new RunsTable(selection_, settings_, this);
  table->setAttribute(Qt::WA_DeleteOnClose);
  connect(table, &RunsTable::open_requested, this, &MainWindow::open_record);
  table->show();
}

std::optional<std::string> MainWindow::model_of(const views::OpenSweep& sweep) const {
  const auto& meta = sweep.record.meta;
  const auto fits = [&](const std::string& path) {
    const std::filesystem::path place(path);
    return (place.has_filename() ? place : place.parent_path()).filename() == meta.model_file;
  };
  if (const QString known = model_places_.value(name_from_path(sweep.path)); !known.isEmpty())
    return known.toStdString();
  for (const auto& known : engine_.hello().models)
    if (fits(known.path)) return known.name;
  // An open run of the same model says where it lay.
  for (const auto& run : selection_.state().runs) {
    if (run->meta().model_sha256 != meta.model_sha256) continue;
    try {
      return protocol::run_spec_from_json(nlohmann::json::parse(run->meta().spec_json)).model;
    } catch (const std::exception&) {
      // A record of another program.
    }
  }
  try {
    const auto last = protocol::sweep_spec_from_json(nlohmann::json::parse(settings_.blob("last_sweep").toStdString()));
    if (fits(last.model)) return last.model;
  } catch (const std::exception&) {
    // No sweep was started here.
  }
  return std::nullopt;
}

std::optional<std::string> MainWindow::prompts_of(const views::OpenSweep& sweep) {
  const auto& meta = sweep.record.meta;
  if (!meta.is_own_prompts()) return std::nullopt;
  const QString path = name_from_path(sweep.path);
  if (prompt_places_.contains(path)) return prompt_places_[path].toStdString();
  const auto beside = sweep.path.parent_path() / meta.prompts;
  std::error_code failed;
  if (std::filesystem::exists(beside, failed)) return beside.string();
  const QString chosen =
      QFileDialog::getOpenFileName(this, tr("Where is %1?").arg(QString::fromStdString(meta.prompts)));
  if (chosen.isEmpty()) return std::nullopt;
  prompt_places_[path] = chosen;
  return chosen.toStdString();
}

void MainWindow::confirm_sweep() {
  const views::SweepPtr sweep = selection_.sweep();
  if (!sweep) return;
  const auto& meta = sweep->record.meta;
  std::optional<std::string> prompts;
  if (meta.is_own_prompts()) prompts = std::string();  // fresh ones: the reader names them
  new_sweep(confirming_spec(meta, model_of(*sweep).value_or(meta.model_file), prompts));
}

void MainWindow::record_sample(int index) {
  const views::SweepPtr sweep = selection_.sweep();
  if (!sweep || index < 0 || index >= std::ssize(sweep->record.rows)) return;
  const auto& meta = sweep->record.meta;
  const auto& row = sweep->record.rows[static_cast<std::size_t>(index)];
  const auto& method = meta.methods[row.method];
  protocol::RunSpec spec;
  const auto model = model_of(*sweep);
  spec.model = model.value_or(meta.model_file);
  if (meta.is_own_prompts()) {
    spec.prompts = prompts_of(*sweep);
    if (!spec.prompts) return;
    spec.index = row.sample.seed;
  } else {
    spec.task = meta.tasks[row.sample.task].name;
    spec.length = row.sample.length;
    spec.seed = static_cast<std::uint64_t>(row.sample.seed);
  }
  spec.methods = {"dense"};
  if (!method.is_dense()) {
    spec.methods.push_back(method_word(method));
    // The oracle beside it says what could have been kept.
    for (const auto& other : meta.methods)
      if (other.role == MethodRole::reference && other.is_default && other.budget == method.budget &&
          other.granularity == method.granularity && other.name != method.name)
        spec.methods.push_back(method_word(other));
    if (method.budget) spec.budgets = {*method.budget};
    spec.granularities = {method.granularity};
  }
  spec.dense_layers = meta.dense_layers;
  spec.max_new_tokens = meta.max_new_tokens;
  spec.dtype = meta.dtype;
  spec.repeats = 1;  // it is looked at, not timed
  spec.out = new_record_path().toStdString();
  place_on_engine(spec, engine_);
  if (!model || engine_.state() != EngineClient::State::ready || !meta.system_sha256.empty() ||
      !meta.haystack_sha256.empty() || method.parameters.contains("layer_budgets")) {
    // What the sweep's file does not hold (where the model lies, a system message, a haystack, budgets by layer) the
    // reader must give.
    NewRunRequest request;
    request.spec = spec;
    return new_run(request);
  }
  sample_runs_.insert(QString::fromStdString(*spec.out));
  start_run(spec);
  say("sample", tr("The sample is being recorded."),
      tr("%1: when it is done its attention maps can be opened.")
          .arg(QString::fromStdString(record::describe(meta, row.sample))));
}

void MainWindow::say(const QString& key, const QString& title, const QString& text, bool warning) {
  views::Banner banner;
  banner.kind = warning ? views::Banner::Kind::warning : views::Banner::Kind::info;
  banner.key = key;
  banner.title = title;
  banner.text = text;
  banners_->show_banner(banner);
}

void MainWindow::write_budgets(const QByteArray& json, const QString& name) {
  const views::SweepPtr sweep = selection_.sweep();
  const QString folder = QFileInfo(settings_.last_record()).absolutePath();
  auto* dialog = new QFileDialog(this, tr("Write budget file"), folder, tr("Budgets (*.json)"));
  dialog->setObjectName("budget_file_dialog");
  dialog->setAttribute(Qt::WA_DeleteOnClose);
  dialog->setAcceptMode(QFileDialog::AcceptSave);
  dialog->setDefaultSuffix("json");
  dialog->selectFile(name);
  connect(dialog, &QFileDialog::fileSelected, this, [this, json](const QString& path) {
    QSaveFile file(path);
    const bool good = file.open(QIODevice::WriteOnly) && file.write(json) == json.size() && file.commit();
    if (good)
      say("budgets", tr("Budgets written: %1").arg(QFileInfo(path).fileName()),
          tr("headroom run … --layer-budgets %1 runs them; so does --layer-budgets of headroom sweep.").arg(path));
    else
      say("budgets", tr("The budget file was not written."), path + ": " + file.errorString(), true);
  });
  dialog->open();
}

void MainWindow::run_layer_budgets(const LayerBudgets& budgets) {
  NewRunRequest request;
  const views::RecordPtr record = selection_.record();
  const bool same_model =
      record && (budgets.model_sha256.empty() || record->meta().model_sha256 == budgets.model_sha256);
  // Beside one budget for all layers that is as large in the mean: what it is to be compared with.
  if (same_model) request.spec = spec_with_budget(*record, budgets.mean());
  if (request.spec) {
    place_on_engine(*request.spec, engine_);
    request.spec->layer_budgets = budgets;
    for (const int layer : request.spec->dense_layers) request.spec->layer_budgets->keys.erase(layer);
    if (engine_.state() == EngineClient::State::ready) return start_run(*request.spec);
    return new_run(request);
  }
  protocol::RunSpec spec;
  const views::SweepPtr sweep = selection_.sweep();
  spec.model = sweep ? model_of(*sweep).value_or(sweep->record.meta.model_file) : "smollm2";
  spec.task = "niah_single_1";
  spec.length = 2048;
  if (sweep && !sweep->record.meta.is_own_prompts()) {
    spec.task = sweep->record.meta.tasks.front().name;
    spec.length = sweep->record.meta.lengths.back();
  }
  spec.budgets = {{BudgetKind::tokens, static_cast<double>(budgets.mean())}};
  spec.layer_budgets = budgets;
  request.spec = spec;
  new_run(request);
}

}  // namespace headroom::gui
