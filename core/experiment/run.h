// SPDX-License-Identifier: Apache-2.0
// The main job: a RunSpec in, a record out. Each method runs its timed passes with nothing recorded, then one recorded
// pass whose time is never reported.
#pragma once

#include <functional>
#include <memory>

#include "base/progress.h"
#include "protocol/run_spec.h"
#include "record/types.h"

namespace headroom::experiment {

struct RunOutcome {
  record::RunMeta meta;
  std::vector<record::MethodSummary> methods;
  std::int64_t tokens = 0;
  std::string record_path;  ///< empty where none was asked for
};

struct RunCallbacks {
  std::function<void(const record::RunMeta&, std::int64_t tokens)> prepared;  ///< before the first pass
  std::function<void(const record::MethodSummary&)> method_finished;
};

/// Cancelled after at least one method: the record is kept, marked incomplete, then the error is thrown.
RunOutcome run(const protocol::RunSpec& spec, const JobContext& job, const RunCallbacks& callbacks = {});

}  // namespace headroom::experiment
