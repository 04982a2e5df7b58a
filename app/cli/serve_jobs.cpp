// SPDX-License-Identifier: Apache-2.0
#include "serve_jobs.h"

#include <algorithm>

#include "base/utf8.h"
#include "protocol/job_answer.h"
#include "protocol/messages.h"

namespace headroom::cli {
namespace {

constexpr std::chrono::milliseconds progress_interval{50};

}  // namespace

ProgressSink JobReporter::progress_sink() {
  return [this](const Progress& progress) {
    protocol::JobProgress message{job_, progress, progress.eta_s};
    {
      const std::lock_guard lock(mutex_);
      const auto now = std::chrono::steady_clock::now();
      if (now - last_ < progress_interval) return;
      last_ = now;
      // One bar for all phases: the time that has passed against the time that the whole takes.
      const double passed = std::chrono::duration<double>(now - begin_).count();
      if (progress.eta_s >= 0 && passed > 0) reached_ = std::max(reached_, passed / (passed + progress.eta_s));
      message.fraction = reached_;
    }
    notify(protocol::method::job_progress, protocol::to_json(message));
  };
}

void JobReporter::answer(const std::string& method, const std::string& text) {
  {
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (now - last_answer_ < progress_interval) return;
    last_answer_ = now;
  }
  const protocol::JobAnswer message{job_, method, std::string(utf8_tail(text, protocol::shown_answer_bytes))};
  channel_.notify(protocol::method::job_answer, protocol::to_json(message));  // not logged: nobody comes back for it
}

void JobReporter::notify(const char* method, nlohmann::json params) {
  log_.message(job_, method, params);
  channel_.notify(method, std::move(params));
}

void JobReporter::notice(const std::string& text) {
  if (!text.empty()) notify(protocol::method::job_notice, protocol::to_json(protocol::JobNotice{job_, text}));
}

JobQueue::~JobQueue() {
  stop_all();
}

void JobQueue::take_over(const std::filesystem::path& saved) {
  const std::lock_guard lock(mutex_);
  last_ = log_.load(saved, last_ + 1) - 1;
}

std::int64_t JobQueue::reserve(std::string method, nlohmann::json params) {
  const std::lock_guard lock(mutex_);
  jobs_.try_emplace(++last_);
  log_.begin(last_, std::move(method), std::move(params));
  return last_;
}

void JobQueue::start(std::int64_t job, JobPlan plan) {
  std::stop_token stop;
  {
    const std::lock_guard lock(mutex_);
    const auto found = jobs_.find(job);
    if (found == jobs_.end()) return;  // cancelled meanwhile
    stop = found->second.stop.get_token();
  }
  thread_.post([this, job, plan = std::move(plan), stop] { work(job, plan, stop); });
}

bool JobQueue::cancel(std::int64_t job) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = jobs_.find(job);
    if (found == jobs_.end()) return false;
    found->second.stop.request_stop();
    if (found->second.at_work) return true;
    jobs_.erase(found);
  }
  auto message = protocol::to_json(protocol::JobCancelled{job, {}});
  log_.ended(job, protocol::method::job_cancelled, message);
  channel_.notify(protocol::method::job_cancelled, std::move(message));
  return true;
}

void JobQueue::stop_all() {
  const std::lock_guard lock(mutex_);
  for (auto& [number, job] : jobs_) job.stop.request_stop();
}

bool JobQueue::busy() {
  const std::lock_guard lock(mutex_);
  return !jobs_.empty();
}

void JobQueue::work(std::int64_t job, const JobPlan& plan, const std::stop_token& stop) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = jobs_.find(job);
    if (found == jobs_.end()) return;  // cancelled while it waited, and told so
    found->second.at_work = true;
  }
  log_.at_work(job);
  JobReporter reporter(channel_, log_, job);
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
  log_.ended(job, method, message);
  {
    const std::lock_guard lock(mutex_);
    jobs_.erase(job);
  }
  channel_.notify(method, std::move(message));
}

}  // namespace headroom::cli
