// SPDX-License-Identifier: Apache-2.0
// From a RunSpec's text, file or task to token ids: rendering, refusal of what cannot be a prompt, tokenising.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "experiment/run/session.h"
#include "protocol/run_spec.h"
#include "record/types.h"
#include "tasks/task.h"

namespace headroom::experiment {

struct PreparedPrompt {
  record::TokenTable table;             ///< rendered text, ids, byte ranges
  std::optional<tasks::Sample> sample;  ///< with a task, or a prompt of a set
  bool chat = false;                    ///< whether a chat template rendered it
  std::vector<std::string> warnings;    ///< what a person should know of it, in sentences
  std::int64_t max_new_tokens = 0;      ///< of the answer: what was asked for, else the task's own, else 16

  std::int64_t length() const { return static_cast<std::int64_t>(table.ids.size()); }
};

/// Throws input errors for an empty or binary prompt and for one that is longer than the model's context (in tokens).
/// Files are read once; `job` stops the wait for a pipe.
PreparedPrompt prepare_prompt(const protocol::RunSpec& spec, Session& session, const JobContext& job = {});

/// The same for a sample that is there already, such as one of a set of prompts that was read once, at `place` in
/// errors. Of `settings` the rendering and max_new_tokens count.
PreparedPrompt prepare_sample(const tasks::Sample& sample, const std::string& place, const protocol::RunSpec& settings,
                              Session& session, const JobContext& job = {});

/// Tokens around a task's text, for tasks::make_sample(): of the model's chat template, or BOS.
std::int64_t tokens_around_task(Session& session, bool chat);

}  // namespace headroom::experiment
