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
#include "task_thread.h"

namespace headroom::cli {

/// How a job at work speaks to the window.
class JobReporter {
 public:
  JobReporter(ServeChannel& channel, std::int64_t job) : channel_(channel), job_(job) {}
  std::int64_t job() const { return job_; }
  /// For JobContext: drops what comes faster than 20 times a second.
  ProgressSink progress_sink();
  /// What a user should know, in a sentence; nothing where it is empty.
  void notice(const std::string& text);
  /// Another message of this job; `params` has its number already.
  void notify(const char* method, nlohmann::json params) { channel_.notify(method, std::move(params)); }
  /// The record that is on the disk, complete or not: what job/cancelled and job/done name.
  void set_record(std::string path) { record_ = std::move(path); }
  const std::string& record() const { return record_; }

 private:
  ServeChannel& channel_;
  std::int64_t job_;
  std::string record_;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point last_{};
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

  /// A number for a job that is about to be queued: it can be cancelled from now on. start() must follow.
  std::int64_t reserve();
  void start(std::int64_t job, JobPlan plan);
  /// False where there is no such job, or it has ended. Returns at once; the job ends with job/cancelled.
  bool cancel(std::int64_t job);
  void stop_all();
  /// Whether a job is queued or at work. Safe from any thread.
  bool busy();

 private:
  void work(std::int64_t job, const JobPlan& plan, const std::stop_token& stop);
  ServeChannel& channel_;
  std::mutex mutex_;
  std::int64_t last_ = 0;
  std::map<std::int64_t, std::stop_source> jobs_;  ///< reserved, queued or at work
  TaskThread thread_;
};

}  // namespace headroom::cli
