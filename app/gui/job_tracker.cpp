// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/job_tracker.h"

#include <QFileInfo>
#include <QMetaMethod>
#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "gui/record_download.h"
#include "protocol/job_answer.h"
#include "protocol/json_fields.h"
#include "views/common/format.h"

namespace headroom::gui {
namespace {

constexpr std::size_t max_early = 64;
constexpr int max_notices = 20;

/// Nothing more is said of it.
bool is_over(const views::JobInfo& info) {
  using State = views::JobInfo::State;
  return info.state == State::done || info.state == State::failed || info.state == State::cancelled;
}
bool is_running(const views::JobInfo& info) {
  return !is_over(info) && info.state != views::JobInfo::State::away;
}

Problem to_problem(const protocol::ErrorInfo& error) {
  return {QString::fromStdString(error.message), QString::fromStdString(error.place),
          QString::fromStdString(error.expected), QString::fromStdString(error.found)};
}

std::optional<double> finite(double value) {
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

}  // namespace

QString describe(const protocol::RunSpec& spec) {
  const QString model = QFileInfo(QString::fromStdString(spec.model)).completeBaseName();
  QStringList parts;
  if (spec.task) {
    parts << QObject::tr("Run: %1, %2, %3 tokens")
                 .arg(model, QString::fromStdString(*spec.task),
                      views::number_locale().toString(qlonglong(spec.length)));
  } else if (spec.prompt_file) {
    parts << QObject::tr("Run: %1, %2").arg(model, QFileInfo(QString::fromStdString(*spec.prompt_file)).fileName());
  } else if (spec.prompts) {
    parts << QObject::tr("Run: %1, %2, prompt %3")
                 .arg(model, QFileInfo(QString::fromStdString(*spec.prompts)).fileName())
                 .arg(spec.index);
  } else {
    parts << QObject::tr("Run: %1, typed prompt").arg(model);
  }
  QStringList methods, budgets, blocks;
  for (const std::string& method : spec.methods) methods << QString::fromStdString(method);
  for (const Budget& budget : spec.budgets) {
    const QString text = QString::fromStdString(to_string(budget));
    budgets << (budget.kind == BudgetKind::tokens ? QObject::tr("%1 keys").arg(text) : text);
  }
  for (const std::int64_t rows : spec.granularities)
    if (rows != 1) blocks << QString::number(rows);
  parts << (methods.isEmpty() ? QObject::tr("usual methods") : methods.join(", "));
  if (methods != QStringList{"dense"} && !budgets.isEmpty()) parts << budgets.join(", ");
  if (!blocks.isEmpty()) parts << QObject::tr("shared by %1 queries").arg(blocks.join(", "));
  return parts.join(QStringLiteral(" · ")).left(300);
}

QString describe(const protocol::SweepSpec& spec) {
  const QString model = QFileInfo(QString::fromStdString(spec.model)).completeBaseName();
  const auto list = [](const std::vector<std::string>& names) {
    QStringList texts;
    for (const std::string& name : names) texts << QString::fromStdString(name);
    return texts.join(", ");
  };
  QStringList parts;
  if (spec.prompts) {
    parts << QObject::tr("Sweep: %1, prompts of %2")
                 .arg(model, QFileInfo(QString::fromStdString(*spec.prompts)).fileName());
  } else {
    QStringList lengths;
    for (const std::int64_t length : spec.lengths) lengths << views::number_locale().toString(qlonglong(length));
    parts << QObject::tr("Sweep: %1, %2").arg(model, list(spec.tasks))
          << QObject::tr("%1 tokens").arg(lengths.join("; ")) << QObject::tr("%1 samples").arg(spec.samples);
  }
  parts << (spec.methods.empty() ? QObject::tr("usual methods") : list(spec.methods));
  QStringList budgets;
  for (const Budget& budget : spec.budgets) budgets << QString::fromStdString(to_string(budget));
  if (spec.layer_budgets) budgets << QObject::tr("by layer");
  parts << budgets.join(", ");
  return parts.join(QStringLiteral(" · ")).left(300);
}

JobTracker::JobTracker(EngineClient& engine, QObject* parent) : QObject(parent), engine_(engine) {
  connect(&engine_, &EngineClient::notified, this, &JobTracker::hear);
  connect(&engine_, &EngineClient::gone, this, &JobTracker::engine_gone);
  connect(&engine_, &EngineClient::state_changed, this, [this] {
    if (engine_.state() == EngineClient::State::ready) look_for_jobs();
  });
}

JobTracker::~JobTracker() = default;

QString JobTracker::start(const QString& title, const std::optional<protocol::RunSpec>& spec, const char* method,
                          nlohmann::json params) {
  const QString id = QString::number(next_number_++);
  Job& job = jobs_[id];
  job.spec = spec;
  job.info.id = id;
  job.info.title = title;
  job.params = params;
  emit changed(job.info);
  engine_.request(
      method, std::move(params),
      [this, id](const nlohmann::json& result, const protocol::ErrorInfo* error) { started(id, result, error); }, 0);
  return id;
}

QString JobTracker::start_run(const protocol::RunSpec& spec) {
  return start(describe(spec), spec, protocol::method::run_start, protocol::to_json(protocol::RunStartParams{spec}));
}

QString JobTracker::start_distillation(const std::string& model, const std::string& out,
                                       const std::optional<std::string>& adapter) {
  const QString name = QFileInfo(QString::fromStdString(model)).completeBaseName();
  nlohmann::json spec = {{"model", model}, {"out", out}};
  if (adapter) spec["adapter"] = *adapter;
  return start(tr("Distil an indexer: %1").arg(name), std::nullopt, protocol::method::distill_start, {{"spec", spec}});
}

QString JobTracker::start_sweep(const protocol::SweepSpec& spec) {
  const QString id =
      start(describe(spec), std::nullopt, protocol::method::sweep_start, {{"spec", protocol::to_json(spec)}});
  jobs_.at(id).sweep = spec;
  return id;
}

void JobTracker::started(const QString& id, const nlohmann::json& result, const protocol::ErrorInfo* error) {
  Job& job = jobs_.at(id);
  if (is_over(job.info) && (error || !job.cancel_wanted)) return;
  if (error) return fail(job, to_problem(*error));
  try {
    protocol::Fields fields(result, "job");
    job.engine_id = fields.integer("job", 1, std::int64_t{1} << 52);
  } catch (const Error& bad) {
    return fail(job, {tr("The engine's answer is unreadable"), QString::fromStdString(bad.detail().place), {}, {}});
  }
  job.session = QString::fromStdString(engine_.hello().session);
  job.host = engine_.command().host;
  if (job.cancel_wanted) send_cancel(job);
  const std::deque<Early> early = std::exchange(early_, {});
  for (const Early& message : early) hear(message.method, message.params);
}

JobTracker::Job* JobTracker::find_engine_job(std::int64_t engine_id) {
  for (auto& [id, job] : jobs_) {
    if (job.engine_id == engine_id && is_running(job.info)) return &job;
  }
  return nullptr;
}

void JobTracker::hear(const QString& method, const nlohmann::json& params) {
  namespace m = protocol::method;
  if (!method.startsWith("job/")) return;
  const auto number = params.is_object() ? params.find("job") : params.end();
  if (!params.is_object() || number == params.end() || !number->is_number_integer()) return;
  Job* job = find_engine_job(number->get<std::int64_t>());
  if (!job) {
    // What was given up here before the engine had taken it ends there now: no window need be told of it again.
    for (const auto& [id, other] : jobs_)
      if (is_over(other.info) && other.engine_id == number->get<std::int64_t>() && method == m::job_cancelled)
        forget(other);
    for (const auto& [id, other] : jobs_) {
      if (other.engine_id || !is_running(other.info)) continue;
      if (early_.size() < max_early) early_.push_back({method, params});
      break;
    }
    return;
  }
  take(*job, method, params);
}

void JobTracker::take(Job& taken, const QString& method, const nlohmann::json& params) {
  namespace m = protocol::method;
  Job* const job = &taken;
  try {
    if (method == m::job_progress) {
      const protocol::JobProgress progress = protocol::job_progress_from_json(params);
      job->info.phase = QString::fromStdString(progress.progress.phase).left(200);
      job->info.layer = progress.progress.layer;
      job->info.done = progress.progress.done;
      job->info.total = progress.progress.total;
      job->info.tokens_per_s = progress.progress.tokens_per_s;
      job->info.eta_s = progress.eta_s >= 0 ? std::optional(progress.eta_s) : std::nullopt;
      // Engines say so themselves; a bar that goes back would say that work was lost.
      if (progress.fraction >= 0) job->info.fraction = std::max(job->info.fraction.value_or(0), progress.fraction);
      if (job->info.answer_of + " answer" != job->info.phase) job->info.answer.clear();
    } else if (method == m::job_answer) {
      const protocol::JobAnswer answer = protocol::job_answer_from_json(params);
      job->info.answer_of = QString::fromStdString(answer.method).left(200);
      job->info.answer = QString::fromStdString(answer.text);
    } else if (method == m::job_notice) {
      const QString text = QString::fromStdString(protocol::job_notice_from_json(params).text).left(1000);
      if (job->info.notices.size() < max_notices && !job->info.notices.contains(text)) job->info.notices << text;
    } else if (method == m::job_partial) {
      const record::MethodSummary summary = protocol::job_partial_from_json(params).method;
      views::PartialResult partial;
      partial.id = QString::fromStdString(summary.id);
      partial.density = summary.density;
      if (summary.ttft.repeats > 0) partial.ttft_ms = finite(summary.ttft.median);
      partial.captured_mass = finite(summary.captured_mass_mean);
      partial.kl_to_dense = summary.answer_kl();
      // Told once when it is recorded and once when it is timed; and again when a job is taken up.
      auto& known = job->info.partial;
      const auto at =
          std::find_if(known.begin(), known.end(), [&](const auto& other) { return other.id == partial.id; });
      if (at == known.end())
        known.append(partial);
      else
        *at = partial;
    } else if (method == m::job_row) {
      const protocol::JobRow row = protocol::job_row_from_json(params);
      job->info.done = row.rows;
      job->info.total = row.rows_total;
      emit row_finished(job->info.id, row);
    } else if (method == m::job_done) {
      const protocol::JobDone done = protocol::job_done_from_json(params);
      if (job->spec || job->sweep)
        return deliver(*job, QString::fromStdString(done.record), views::JobInfo::State::done);
      protocol::Fields fields(done.result, "result");
      const QString indexer = QString::fromStdString(fields.string("indexer"));
      const QString id = job->info.id;
      end(*job, {}, views::JobInfo::State::done);
      emit indexer_ready(id, indexer);
      return;
    } else if (method == m::job_cancelled) {
      return deliver(*job, QString::fromStdString(protocol::job_cancelled_from_json(params).record),
                     views::JobInfo::State::cancelled);
    } else if (method == m::job_failed) {
      return fail(*job, to_problem(protocol::job_failed_from_json(params).error));
    }
  } catch (const Error& error) {
    return fail(*job, {tr("The engine's report is unreadable"), QString::fromStdString(error.detail().place),
                       QString::fromStdString(error.detail().expected), QString::fromStdString(error.detail().found)});
  }
  emit changed(job->info);
}

void JobTracker::cancel(const QString& id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end() || found->second.info.state != views::JobInfo::State::running) return;
  if (found->second.waiting) return transfer(id, Transfer::leave);  // the work itself is done
  Job& job = found->second;
  job.cancel_wanted = true;
  // The engine has not taken it yet: it is told when its number is known, and need not be waited for.
  if (!job.engine_id) return end(job, {}, views::JobInfo::State::cancelled);
  job.info.state = views::JobInfo::State::cancelling;
  emit changed(job.info);
  send_cancel(job);
  QTimer::singleShot(patience_ms, this, [this, id] {
    Job& late = jobs_.at(id);
    // Ending the engine ends what it works on: no help for a job that waits behind that.
    if (late.info.state != views::JobInfo::State::cancelling || !at_work(late)) return;
    late.info.offer_kill = true;
    emit changed(late.info);
  });
}

bool JobTracker::at_work(const Job& job) const {
  if (!job.info.phase.isEmpty()) return true;  // it has reported progress
  return std::none_of(jobs_.begin(), jobs_.end(), [&](const auto& entry) {
    const Job& other = entry.second;
    return is_running(other.info) && other.engine_id && job.engine_id && *other.engine_id < *job.engine_id;
  });
}

void JobTracker::cancel_current() {
  QString first;  // the engine works off one after the other
  for (const auto& [id, job] : jobs_) {
    if (job.info.state == views::JobInfo::State::cancelling) return;  // what the key was for is under way
    if (job.info.state == views::JobInfo::State::running && (first.isEmpty() || id.toInt() < first.toInt())) first = id;
  }
  if (!first.isEmpty()) cancel(first);
}

void JobTracker::cancel_all() {
  QStringList ids;
  for (const auto& [id, job] : jobs_) ids << id;
  for (const QString& id : ids) cancel(id);
}

void JobTracker::send_cancel(Job& job) {
  const QString id = job.info.id;
  engine_.request(
      protocol::method::job_cancel, protocol::to_json(protocol::JobCancelParams{*job.engine_id}),
      [this, id](const nlohmann::json& result, const protocol::ErrorInfo* error) {
        if (error) return;
        try {
          if (protocol::job_cancel_result_from_json(result).known) return;
        } catch (const Error&) {
          return;
        }
        // It has ended already: how is on its way, or was said before we listened.
        QTimer::singleShot(patience_ms / 2, this, [this, id] {
          Job& late = jobs_.at(id);
          if (late.info.state == views::JobInfo::State::cancelling) end(late, {}, views::JobInfo::State::cancelled);
        });
      },
      5000);
}

void JobTracker::engine_gone(const Problem& why) {
  std::vector<QString> ids;
  for (const auto& [id, job] : jobs_) {
    if (is_running(job.info)) ids.push_back(id);
  }
  for (const QString& id : ids) {
    Job& job = jobs_.at(id);
    // What the engine had not taken is lost in any case.
    const bool goes_on = engine_.keeps_jobs() && job.engine_id && !job.cancel_wanted;
    job.info.state = goes_on ? views::JobInfo::State::away : views::JobInfo::State::failed;
    job.info.message = goes_on && !job.host.isEmpty() ? tr("%1, on %2").arg(why.message, job.host) : why.message;
    emit changed(job.info);  // the engine's own banner says why, one is enough
  }
  early_.clear();
}

void JobTracker::fail(Job& job, const Problem& problem) {
  if (is_over(job.info)) return;
  job.info.state = views::JobInfo::State::failed;
  job.info.message = problem.message;
  forget(job);
  const std::optional<protocol::RunSpec> spec = job.spec;
  const std::optional<protocol::SweepSpec> sweep = job.sweep;
  const QString id = job.info.id;
  emit changed(job.info);
  if (sweep) return emit sweep_failed(id, problem, *sweep);
  emit failed(id, problem, spec);
}

void JobTracker::deliver(Job& job, const QString& path, views::JobInfo::State state) {
  if (path.isEmpty() || !engine_.remote()) return end(job, path, state);
  const qint64 bytes = RecordDownload::left_here(engine_, path);
  if (bytes == 0 || !isSignalConnected(QMetaMethod::fromSignal(&JobTracker::part_found)))
    return fetch(job, path, state, false);
  job.waiting = {path, state};
  job.info.phase = tr("A part of its record is here: how to go on is asked above");
  job.info.layer = -1;
  job.info.done = job.info.total = 0;
  job.info.eta_s.reset();
  emit changed(job.info);
  emit part_found(job.info.id, QFileInfo(path).fileName(), bytes);
}

void JobTracker::transfer(const QString& id, Transfer how) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end() || !found->second.waiting) return;
  Job& job = found->second;
  const Job::Delivery wanted = *std::exchange(job.waiting, std::nullopt);
  if (!is_running(job.info)) return;  // the connection went meanwhile: asked again when there is one
  if (how != Transfer::leave) return fetch(job, wanted.path, wanted.state, how == Transfer::anew);
  // The engine is not told that anyone has it: the next window that comes is asked, too.
  job.info.state = wanted.state;
  job.info.message = tr("Its record stays there: %1").arg(wanted.path);
  emit changed(job.info);
}

void JobTracker::fetch(Job& job, const QString& path, views::JobInfo::State state, bool anew) {
  job.info.phase = tr("Transferring the record");
  job.info.layer = -1;
  job.info.done = job.info.total = 0;  // of the phase before
  job.info.eta_s.reset();
  emit changed(job.info);
  auto* download = new RecordDownload(engine_, path, this);
  const QString id = job.info.id;
  connect(download, &RecordDownload::progressed, this, [this, id](qint64 done, qint64 total) {
    Job& loading = jobs_.at(id);
    loading.info.done = done;
    loading.info.total = total;
    emit changed(loading.info);
  });
  connect(download, &RecordDownload::finished, this,
          [this, id, state](const QString& local) { end(jobs_.at(id), local, state); });
  connect(download, &RecordDownload::failed, this, [this, id](const Problem& problem) {
    // Where the connection went, the transfer goes on where it was when there is one again.
    if (jobs_.at(id).info.state != views::JobInfo::State::away) fail(jobs_.at(id), problem);
  });
  anew ? download->start_anew() : download->start();
}

void JobTracker::forget(const Job& job) {
  if (!job.engine_id || engine_.state() != EngineClient::State::ready || engine_.hello().session.empty() ||
      QString::fromStdString(engine_.hello().session) != job.session)
    return;
  engine_.request(protocol::method::jobs_forget, {{"jobs", {*job.engine_id}}}, {});
}

void JobTracker::end(Job& job, const QString& path, views::JobInfo::State state) {
  if (is_over(job.info)) return;
  job.info.state = state;
  job.info.message = path;
  forget(job);
  const QString id = job.info.id;
  emit changed(job.info);
  emit finished(id, path);
}

bool JobTracker::anything_running() const {
  return count_running() > 0;
}

int JobTracker::count_running() const {
  return static_cast<int>(
      std::count_if(jobs_.begin(), jobs_.end(), [](const auto& entry) { return is_running(entry.second.info); }));
}

QString JobTracker::running_title() const {
  const Job* first = nullptr;
  for (const auto& [id, job] : jobs_)
    if (is_running(job.info) && (!first || id.toInt() < first->info.id.toInt())) first = &job;
  return first ? first->info.title : QString();
}

}  // namespace headroom::gui
