// SPDX-License-Identifier: Apache-2.0
// Everything that is known about a run before its first pass: device, model, prompt, methods, and what it will need.
#pragma once

#include <c10/core/ScalarType.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "attention/backend.h"
#include "base/output_file.h"
#include "experiment/run/methods.h"
#include "experiment/plan/plan.h"
#include "experiment/run/prompt.h"
#include "experiment/run/session.h"
#include "model/device.h"
#include "protocol/run_spec.h"

namespace headroom::experiment {

struct PreparedRun {
  protocol::RunSpec spec;
  model::DeviceChoice device;
  c10::ScalarType dtype = c10::ScalarType::Float;
  std::shared_ptr<Session> session;
  PreparedPrompt prompt;
  MethodSet methods;
  /// What can execute attention here; the first is what methods run on.
  std::vector<std::shared_ptr<const attention::Backend>> backends;
  std::optional<OutputPlace> out;  ///< of --out; none of the inputs
  std::optional<PlanFile> plans;  ///< of --plan; checked: every sparse method but the oracle has one that fits

  const model::ModelConfig& config() const { return session->config(); }
  std::int64_t length() const { return prompt.length(); }
  std::int64_t full_layers() const;
  /// Whether there is an indexer that was trained on shorter prompts alone.
  bool is_beyond_training() const;
};

/// Gives the session of a model and its adapter: an engine hands out one that is open already. Empty: a new one.
using SessionProvider =
    std::function<std::shared_ptr<Session>(const std::string& model, const std::optional<std::string>& adapter)>;

/// Device first, then model, prompt and methods; nothing is loaded onto the device yet. Throws usage, input and device
/// errors: whatever can be refused is refused here. `auto_device`: what the specification's "auto" means to the engine
/// that runs it; the specification that is recorded keeps its word. `job` stops the wait for a prompt from a pipe.
PreparedRun prepare_run(const protocol::RunSpec& spec, const SessionProvider& sessions = {},
                        const std::string& auto_device = "auto", const JobContext& job = {});

}  // namespace headroom::experiment
