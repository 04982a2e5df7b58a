// SPDX-License-Identifier: Apache-2.0
// Jobs of the engine: kinds, a queue, one job at a time on a thread of its own, progress at most 20 times a second.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string>

#include "base/progress.h"
#include "serve_channel.h"
#include "serve_log.h"
#include "task_thread.h"

namespace headroom::cli {

/// How a job at work speaks to the window.
class JobReporter {
 public:
  JobReporter(ServeChannel& channel, JobLog& log, std::int64_t job) : channel_(channel), log_(log), job_(job) {}
  std::int64_t job() const { return job_; }
  /// For JobContext: drops what comes faster than 20 times a second.
  ProgressSink progress_sink();
  /// The answer of `method` so far: as much of its end as a message has room for, as often as progress.
  void answer(const std::string& method, const std::string& text);
  /// What a user should know, in a sentence; nothing where it is empty.
  void notice(const std::string& text);
  /// Another message of this job; `params` has its number already.
  void notify(const char* method, nlohmann::json params);
  /// The record that is on the disk, complete or not: what job/cancelled and job/done name.
  void set_record(std::string path) { record_ = std::move(path); }
  const std::string& record() const { return record_; }

 private:
  ServeChannel& channel_;
  JobLog& log_;
  std::int64_t job_;
  std::string record_;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now(), last_{}, last_answer_{};
  double reached_ = -1;  ///< of the whole job
};

/// What a start request became: the answer beside the job's number, and the work. The work returns job/done's `result`;
/// it throws where it fails or was cancelled.
struct JobPlan {
  nlohmann::json answer = nlohmann::json::object();
  std::function<nlohmann::json(JobReporter&, const JobContext&)> work;
};

/// A kind of job: the request that starts it, and how its parameters are checked and planned. `plan` runs on the
/// engine's inspecting thread while another job may be at work; it throws what is answered as an error.
struct JobKind {
  std::string start_method;  ///< "run/start"
  std::function<JobPlan(const nlohmann::json& params)> plan;
};

class JobQueue {
 public:
  explicit JobQueue(ServeChannel& channel) : channel_(channel) {}
  /// Stops the job at work and drops the others.
  ~JobQueue();

  /// A number for a job that is about to be queued: it can be cancelled from now on. start() must follow. `method` and
  /// `params`: of the request that starts it.
  std::int64_t reserve(std::string method, nlohmann::json params);
  void start(std::int64_t job, JobPlan plan);
  /// False where there is no such job, or it has ended. Returns at once. A job at work ends with job/cancelled when it
  /// has seen the stop, one that waits before this returns: it needs nothing of the one at work.
  bool cancel(std::int64_t job);
  void stop_all();
  /// Whether a job is queued or at work. Safe from any thread.
  bool busy();
  JobLog& log() { return log_; }
  /// Jobs that an engine before this one saved (JobLog::load()); before the first job.
  void take_over(const std::filesystem::path& saved);

 private:
  void work(std::int64_t job, const JobPlan& plan, const std::stop_token& stop);
  struct Job {
    std::stop_source stop;
    bool at_work = false;
  };
  ServeChannel& channel_;
  JobLog log_;
  std::mutex mutex_;
  std::int64_t last_ = 0;
  std::map<std::int64_t, Job> jobs_;  ///< reserved, queued or at work
  TaskThread thread_;
};

}  // namespace headroom::cli
