// SPDX-License-Identifier: Apache-2.0
// The engine behind `headroom serve`: takes requests and gives each to the thread that answers it.
#pragma once

#include <functional>
#include <map>
#include <memory>
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
  nlohmann::json initialize(const nlohmann::json& params);

  ServeChannel& channel_;
  model::DeviceChoice device_;
  ServedFolders folders_;
  std::string mismatch_;
  bool initialized_ = false, finished_ = false;
  std::stop_source closing_;
  std::map<std::string, JobKind> kinds_;
  TileServer tiles_;
  RunHost runs_;
  // Threads last: they end before what they use, and the inspector, which starts jobs, before the jobs' own.
  JobQueue jobs_;
  TaskThread inspector_, disk_, tile_maker_;
};

}  // namespace headroom::cli
