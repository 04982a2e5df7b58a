// SPDX-License-Identifier: Apache-2.0
// The engine behind `headroom serve`: takes requests and gives each to the thread that answers it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "model/device.h"
#include "protocol/messages.h"
#include "serve_channel.h"
#include "serve_files.h"
#include "serve_jobs.h"
#include "serve_run.h"
#include "serve_tiles.h"
#include "task_thread.h"

namespace headroom::cli {

class ServeEngine {
 public:
  ServeEngine(ServeChannel& channel, model::DeviceChoice device, ServedFolders folders);
  /// Stops the job at work and waits for it.
  ~ServeEngine();

  /// What session/keep calls: from then on jobs outlive the window or no longer. Throws where that cannot be had.
  void set_keeper(std::function<void(bool keep)> keeper) { keeper_ = std::move(keeper); }
  /// A window that comes back is told of these, too (JobQueue::take_over()).
  void take_over(const std::filesystem::path& saved) { jobs_.take_over(saved); }
  /// What session/keep does.
  void keep(bool on);
  bool busy() { return jobs_.busy(); }
  const JobLog& log() { return jobs_.log(); }
  /// Another window took the place of the one before: nothing that one asked for is wanted any more.
  void new_client();

  /// Another kind of job; its start request is known from now on.
  void add_job_kind(JobKind kind);
  /// One framed body. Never throws; whatever is wrong with it is answered.
  void handle(const std::string& body);
  /// The window asked for the end.
  bool finished() const { return finished_; }

 private:
  using Answer = std::function<nlohmann::json(const nlohmann::json& params)>;
  void handle_request(protocol::Request request);
  /// Answers on `thread`, or right away where there is none.
  void answer(TaskThread* thread, protocol::Request request, Answer answer);
  void start_job(protocol::Request request, const JobKind& kind);
  void answer_tile(protocol::Request request);
  void cancel_request(const nlohmann::json& params);
  void forget_jobs(const nlohmann::json& params);
  nlohmann::json initialize(const nlohmann::json& params);

  ServeChannel& channel_;
  model::DeviceChoice device_;
  ServedFolders folders_;
  std::string mismatch_;
  std::string session_;
  bool initialized_ = false, finished_ = false, keeps_jobs_ = false;
  std::function<void(bool)> keeper_;
  std::mutex tiles_mutex_;
  std::map<protocol::RequestId, std::stop_source> tiles_asked_;  ///< waiting or at work
  std::map<std::string, JobKind> kinds_;
  TileServer tiles_;
  RunHost runs_;
  // Threads last: they end before what they use, and the inspector, which starts jobs, before the jobs' own.
  JobQueue jobs_;
  TaskThread inspector_, disk_, tile_maker_;
};

}  // namespace headroom::cli
