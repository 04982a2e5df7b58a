// SPDX-License-Identifier: GPL-3.0-or-later
#include "gui/job_tracker.h"

#include <QFileInfo>
#include <cmath>

#include "base/error.h"
#include "gui/record_download.h"
#include "protocol/json_fields.h"
#include "views/common/format.h"

namespace headroom::gui {
namespace {

constexpr std::size_t max_early = 64;
constexpr int max_notices = 20;

bool is_over(const views::JobInfo& info) {
  return info.state != views::JobInfo::State::running && info.state != views::JobInfo::State::cancelling;
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
  if (spec.task) {
    return QObject::tr("Run: %1, %2, %3 tokens")
        .arg(model, QString::fromStdString(*spec.task), views::number_locale().toString(qlonglong(spec.length)));
  }
  if (spec.prompt_file)
    return QObject::tr("Run: %1, %2").arg(model, QFileInfo(QString::fromStdString(*spec.prompt_file)).fileName());
  if (spec.prompts)
    return QObject::tr("Run: %1, %2, prompt %3")
        .arg(model, QFileInfo(QString::fromStdString(*spec.prompts)).fileName())
        .arg(spec.index);
  return QObject::tr("Run: %1, typed prompt").arg(model);
}

JobTracker::JobTracker(EngineClient& engine, QObject* parent) : QObject(parent), engine_(engine) {
  connect(&engine_, &EngineClient::notified, this, &JobTracker::hear);
  connect(&engine_, &EngineClient::died, this, &JobTracker::engine_gone);
}

JobTracker::~JobTracker() = default;

QString JobTracker::start(const QString& title, const std::optional<protocol::RunSpec>& spec, const char* method,
                          nlohmann::json params) {
  const QString id = QString::number(next_number_++);
  Job& job = jobs_[id];
  job.spec = spec;
  job.info.id = id;
  job.info.title = title;
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

void JobTracker::started(const QString& id, const nlohmann::json& result, const protocol::ErrorInfo* error) {
  Job& job = jobs_.at(id);
  if (is_over(job.info)) return;
  if (error) return fail(job, to_problem(*error));
  try {
    protocol::Fields fields(result, "job");
    job.engine_id = fields.integer("job", 1, std::int64_t{1} << 52);
  } catch (const Error& bad) {
    return fail(job, {tr("The engine's answer is unreadable"), QString::fromStdString(bad.detail().place), {}, {}});
  }
  if (job.cancel_wanted) send_cancel(job);
  const std::deque<Early> early = std::exchange(early_, {});
  for (const Early& message : early) hear(message.method, message.params);
}

JobTracker::Job* JobTracker::find_engine_job(std::int64_t engine_id) {
  for (auto& [id, job] : jobs_) {
    if (job.engine_id == engine_id && !is_over(job.info)) return &job;
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
    for (const auto& [id, other] : jobs_) {
      if (other.engine_id || is_over(other.info)) continue;
      if (early_.size() < max_early) early_.push_back({method, params});
      break;
    }
    return;
  }
  try {
    if (method == m::job_progress) {
      const protocol::JobProgress progress = protocol::job_progress_from_json(params);
      job->info.phase = QString::fromStdString(progress.progress.phase).left(200);
      job->info.layer = progress.progress.layer;
      job->info.done = progress.progress.done;
      job->info.total = progress.progress.total;
      job->info.tokens_per_s = progress.progress.tokens_per_s;
      job->info.eta_s = progress.eta_s >= 0 ? std::optional(progress.eta_s) : std::nullopt;
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
      job->info.partial.append(partial);
    } else if (method == m::job_done) {
      const protocol::JobDone done = protocol::job_done_from_json(params);
      if (job->spec) return deliver(*job, QString::fromStdString(done.record), views::JobInfo::State::done);
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
  Job& job = found->second;
  job.info.state = views::JobInfo::State::cancelling;
  job.cancel_wanted = true;
  emit changed(job.info);
  if (job.engine_id) send_cancel(job);
  QTimer::singleShot(patience_ms, this, [this, id] {
    Job& late = jobs_.at(id);
    if (late.info.state != views::JobInfo::State::cancelling) return;
    late.info.offer_kill = true;
    emit changed(late.info);
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

void JobTracker::send_cancel(Job& job) {
  engine_.request(protocol::method::job_cancel, protocol::to_json(protocol::JobCancelParams{*job.engine_id}), {}, 5000);
}

void JobTracker::engine_gone(const Problem& problem) {
  std::vector<QString> ids;
  for (const auto& [id, job] : jobs_) {
    if (!is_over(job.info)) ids.push_back(id);
  }
  for (const QString& id : ids) {
    Job& job = jobs_.at(id);
    job.info.state = views::JobInfo::State::failed;
    job.info.message = problem.message;
    emit changed(job.info);  // the engine's own banner says why, one is enough
  }
  early_.clear();
}

void JobTracker::fail(Job& job, const Problem& problem) {
  job.info.state = views::JobInfo::State::failed;
  job.info.message = problem.message;
  const std::optional<protocol::RunSpec> spec = job.spec;
  const QString id = job.info.id;
  emit changed(job.info);
  emit failed(id, problem, spec);
}

void JobTracker::deliver(Job& job, const QString& path, views::JobInfo::State state) {
  if (path.isEmpty() || !engine_.remote()) return end(job, path, state);
  job.info.phase = tr("Transferring the record");
  job.info.layer = -1;
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
  connect(download, &RecordDownload::failed, this, [this, id](const Problem& problem) { fail(jobs_.at(id), problem); });
  download->start();
}

void JobTracker::end(Job& job, const QString& path, views::JobInfo::State state) {
  if (is_over(job.info)) return;
  job.info.state = state;
  job.info.message = path;
  const QString id = job.info.id;
  emit changed(job.info);
  emit finished(id, path);
}

bool JobTracker::anything_running() const {
  return std::any_of(jobs_.begin(), jobs_.end(), [](const auto& entry) { return !is_over(entry.second.info); });
}

}  // namespace headroom::gui
