// SPDX-License-Identifier: Apache-2.0
// The job kind "run": `run/start`, and `run/preflight` which starts nothing.
#pragma once

#include <memory>

#include "experiment/session.h"
#include "protocol/messages.h"
#include "serve_jobs.h"
#include "serve_tiles.h"

namespace headroom::cli {

/// Keeps the last model open between jobs. One thread only.
class SessionCache {
 public:
  std::shared_ptr<experiment::Session> get(const std::string& model);

 private:
  std::shared_ptr<experiment::Session> last_;
};

/// `inspecting`: the sessions of the thread that plans; the jobs' own are kept inside.
JobKind make_run_kind(SessionCache& inspecting, TileServer& tiles);
protocol::Preflight run_preflight(const protocol::RunSpec& spec, SessionCache& inspecting);

}  // namespace headroom::cli
