// SPDX-License-Identifier: Apache-2.0
#include "serve_jobs.h"

#include "protocol/messages.h"

namespace headroom::cli {
namespace {

constexpr std::chrono::milliseconds progress_interval{50};

}  // namespace

ProgressSink JobReporter::progress_sink() {
  return [this](const Progress& progress) {
    {
      const std::lock_guard lock(mutex_);
      const auto now = std::chrono::steady_clock::now();
      if (now - last_ < progress_interval) return;
      last_ = now;
    }
    channel_.notify(protocol::method::job_progress,
                    protocol::to_json(protocol::JobProgress{job_, progress, progress.eta_s}));
  };
}

void JobReporter::notice(const std::string& text) {
  if (!text.empty()) notify(protocol::method::job_notice, protocol::to_json(protocol::JobNotice{job_, text}));
}

JobQueue::~JobQueue() {
  stop_all();
}

std::int64_t JobQueue::reserve() {
  const std::lock_guard lock(mutex_);
  jobs_.try_emplace(++last_);
  return last_;
}

void JobQueue::start(std::int64_t job, JobPlan plan) {
  std::stop_token stop;
  {
    const std::lock_guard lock(mutex_);
    stop = jobs_.at(job).get_token();
  }
  thread_.post([this, job, plan = std::move(plan), stop] { work(job, plan, stop); });
}

bool JobQueue::cancel(std::int64_t job) {
  const std::lock_guard lock(mutex_);
  const auto found = jobs_.find(job);
  if (found == jobs_.end()) return false;
  found->second.request_stop();
  return true;
}

void JobQueue::stop_all() {
  const std::lock_guard lock(mutex_);
  for (auto& [job, source] : jobs_) source.request_stop();
}

bool JobQueue::busy() {
  const std::lock_guard lock(mutex_);
  return !jobs_.empty();
}

void JobQueue::work(std::int64_t job, const JobPlan& plan, const std::stop_token& stop) {
  JobReporter reporter(channel_, job);
  nlohmann::json message;
  const char* method = protocol::method::job_done;
  try {
    const JobContext context{stop, reporter.progress_sink()};
    context.check();
    auto result = plan.work(reporter, context);
    message = protocol::to_json(protocol::JobDone{job, reporter.record(), std::move(result)});
  } catch (...) {
    auto error = describe_exception(std::current_exception());
    if (error.code == static_cast<int>(ErrorKind::cancelled)) {
      method = protocol::method::job_cancelled;
      message = protocol::to_json(protocol::JobCancelled{job, reporter.record()});
    } else {
      method = protocol::method::job_failed;
      message = protocol::to_json(protocol::JobFailed{job, std::move(error)});
    }
  }
  {
    const std::lock_guard lock(mutex_);
    jobs_.erase(job);
  }
  channel_.notify(method, std::move(message));
}

}  // namespace headroom::cli
