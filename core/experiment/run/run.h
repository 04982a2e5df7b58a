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

class StreamStore;
struct PreparedRun;

struct RunOutcome {
  record::RunMeta meta;
  std::vector<record::MethodSummary> methods;
  std::int64_t tokens = 0;
  std::string record_path;  ///< empty where none was asked for
};

struct RunCallbacks {
  std::function<void(const record::RunMeta&, std::int64_t tokens)> prepared;  ///< before the first pass
  /// A method is recorded, its times not yet taken (ttft.repeats is 0); and once more when all have been timed.
  std::function<void(const record::MethodSummary&)> method_finished;
  /// The text that a method has answered so far, token by token, in whole characters.
  std::function<void(const std::string& method, const std::string& text)> answer_grows = {};
  std::function<void(const std::string&)> notice;  ///< what a user should know, in a sentence
  /// The record is on the disk; complete or, after a cancel or a failure, with what was finished.
  std::function<void(const record::RunMeta&, const std::string& path)> record_written;
  /// The run's working file, which answers for the layers that the record does not hold; only where a record is wanted.
  std::function<void(const record::RunMeta&, std::shared_ptr<const StreamStore>)> store_opened;
};

/// Cancelled or failed after at least one method: the record is kept, marked incomplete, then the error is thrown.
RunOutcome run(const PreparedRun& prepared, const JobContext& job, const RunCallbacks& callbacks = {});
/// prepare_run() and the above.
RunOutcome run(const protocol::RunSpec& spec, const JobContext& job, const RunCallbacks& callbacks = {});

}  // namespace headroom::experiment
