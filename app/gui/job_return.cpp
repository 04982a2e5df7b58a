// SPDX-License-Identifier: GPL-3.0-or-later
// Jobs that went on while no window was connected: found again when one is, with all that was said of them meanwhile.
#include <QFileInfo>
#include <algorithm>

#include "base/error.h"
#include "gui/job_tracker.h"
#include "protocol/json_fields.h"

namespace headroom::gui {

void JobTracker::look_for_jobs() {
  const bool any_away = std::any_of(jobs_.begin(), jobs_.end(), [](const auto& entry) {
    return entry.second.info.state == views::JobInfo::State::away;
  });
  if (!engine_.keeps_jobs() && !any_away) return;
  engine_.request(protocol::method::jobs_list, nlohmann::json::object(),
                  [this](const nlohmann::json& result, const protocol::ErrorInfo* error) {
                    if (error) return;  // an engine that keeps none
                    try {
                      take_up(protocol::jobs_list_result_from_json(result));
                    } catch (const Error&) {
                      // What is away stays so: the cards say where.
                    }
                  });
}

void JobTracker::take_up(const protocol::JobsListResult& list) {
  for (const protocol::ListedJob& listed : list.jobs)
    if (!find_engine_job(listed.job)) take_up(listed);
  // A job of this host that its engine does not know any more will not be heard of again.
  std::vector<QString> lost;
  for (const auto& [id, job] : jobs_)
    if (job.info.state == views::JobInfo::State::away && job.host == engine_.command().host) lost.push_back(id);
  for (const QString& id : lost) {
    Job& job = jobs_.at(id);
    job.info.state = views::JobInfo::State::failed;
    job.info.message = tr("The engine that ran it is no longer there");
    emit changed(job.info);
  }
}

JobTracker::Job* JobTracker::find_away(const protocol::ListedJob& listed) {
  const QString session = QString::fromStdString(engine_.hello().session);
  for (auto& [id, job] : jobs_) {
    if (job.info.state != views::JobInfo::State::away || job.host != engine_.command().host) continue;
    // An engine that ended leaves its jobs to the next one, which gives them other numbers.
    const bool same_number = job.session == session && job.engine_id == listed.job;
    if (same_number || (job.session != session && job.params == listed.params)) return &job;
  }
  return nullptr;
}

void JobTracker::take_up(const protocol::ListedJob& listed) {
  Job* job = find_away(listed);
  if (!job) {
    std::optional<protocol::RunSpec> spec;
    std::optional<protocol::SweepSpec> sweep;
    QString title = tr("Job %1 of the engine").arg(listed.job);
    try {
      if (listed.method == protocol::method::run_start) {
        spec = protocol::run_start_params_from_json(listed.params).spec;
        title = describe(*spec);
      } else if (listed.method == protocol::method::sweep_start) {
        protocol::Fields fields(listed.params, listed.method);
        sweep = protocol::sweep_spec_from_json(fields.object("spec"));
        title = describe(*sweep);
      } else if (listed.method == protocol::method::distill_start) {
        protocol::Fields fields(listed.params, listed.method);
        protocol::Fields asked(fields.object("spec"), listed.method);
        title = tr("Distil an indexer: %1")
                    .arg(QFileInfo(QString::fromStdString(asked.string("model"))).completeBaseName());
      }
    } catch (const Error&) {
      // The title alone is lost.
    }
    const QString id = QString::number(next_number_++);
    job = &jobs_[id];
    job->info.id = id;
    job->info.title = title;
    job->spec = spec;
    job->sweep = sweep;
    job->params = listed.params;
  }
  job->engine_id = listed.job;
  job->session = QString::fromStdString(engine_.hello().session);
  job->host = engine_.command().host;
  job->info.state = views::JobInfo::State::running;
  job->info.message.clear();
  emit changed(job->info);
  for (const auto& [method, params] : listed.messages) {
    if (job->info.state != views::JobInfo::State::running) break;
    take(*job, QString::fromStdString(method), params);
  }
}

}  // namespace headroom::gui
