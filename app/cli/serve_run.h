// SPDX-License-Identifier: Apache-2.0
// The job kind "run": `run/start`, and `run/preflight` which starts nothing.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "experiment/run/prepared_run.h"
#include "experiment/run/session.h"
#include "model/device.h"
#include "protocol/messages.h"
#include "serve_jobs.h"
#include "serve_tiles.h"

namespace headroom::cli {

/// Keeps the last model open between jobs. One thread only, but for loaded().
class SessionCache {
 public:
  std::shared_ptr<experiment::Session> get(const std::string& model, const std::optional<std::string>& adapter);
  /// The weights that the last session holds.
  std::optional<experiment::LoadedWeights> loaded() const;

 private:
  void keep(std::shared_ptr<experiment::Session> session);
  mutable std::mutex mutex_;
  std::shared_ptr<experiment::Session> last_;
};

/// What the runs of an engine have in common.
class RunHost {
 public:
  /// `device` is what "auto" means. `busy`: whether a job is queued or at work. Both and `tiles` outlive this object.
  RunHost(const model::DeviceChoice& device, TileServer& tiles, std::function<bool()> busy)
      : device_(device), tiles_(tiles), busy_(std::move(busy)) {}

  /// Called on the planning thread, while a job may be at work.
  protocol::Preflight preflight(const protocol::RunSpec& spec);
  JobKind kind();

 private:
  experiment::PreparedRun inspect(const protocol::RunSpec& spec);
  nlohmann::json run(const protocol::RunSpec& spec, JobReporter& reporter, const JobContext& job);

  const model::DeviceChoice& device_;
  TileServer& tiles_;
  std::function<bool()> busy_;
  SessionCache inspecting_, working_;  ///< of the planning and of the jobs' thread: a session serves one
};

/// `request` as this engine means it: "auto" is the device that it was started with.
std::string device_of(const std::string& request, const model::DeviceChoice& device);
/// Why "auto" is the CPU; empty where something else was requested.
std::string device_note(const std::string& request, const model::DeviceChoice& device);

}  // namespace headroom::cli
