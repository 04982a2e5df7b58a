// SPDX-License-Identifier: Apache-2.0
// A sweep: many samples, each under dense and every other method, one durable row a sample and method (docs/sweeps.md).
// Quality alone: what is scored is the method as defined in every layer that is not listed as dense, nothing is timed
// and no plan is used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/output_file.h"
#include "base/progress.h"
#include "experiment/run/methods.h"
#include "experiment/run/prompt.h"
#include "experiment/run/session.h"
#include "model/device.h"
#include "protocol/sweep_spec.h"
#include "record/sweep/sweep_store.h"
#include "record/sweep/sweep_types.h"
#include "tasks/prompt_file.h"

namespace headroom::experiment {

using protocol::SweepSpec;

/// Everything that is known before the first pass. Nothing is loaded onto the device yet.
struct PreparedSweep {
  SweepSpec spec;
  model::DeviceChoice device;
  c10::ScalarType dtype = c10::ScalarType::Float;
  std::shared_ptr<Session> session;
  MethodSet methods;  ///< dense first
  std::vector<std::shared_ptr<const attention::Backend>> backends;
  std::optional<tasks::PromptSet> prompts;
  record::SweepMeta meta;
  std::optional<OutputPlace> out;
  std::filesystem::path store;
  std::optional<record::SweepStoreContent> found;  ///< what a store holds that is gone on with
  std::vector<std::string> warnings;               ///< sentences

  const model::ModelConfig& config() const { return session->config(); }
};

/// Throws usage, input and device errors: whatever can be refused is refused here, a setting that differs from the
/// store's by its name.
PreparedSweep prepare_sweep(const SweepSpec& spec, const JobContext& job = {});
/// The prompt of a sample, rendered and tokenised.
PreparedPrompt sweep_prompt(const PreparedSweep& sweep, const record::SweepSample& sample, const JobContext& job = {});

struct SweepPreflight {
  std::int64_t memory_needed = 0, memory_free = 0;  ///< bytes where the weights are; free 0: not known
  std::int64_t samples = 0, rows = 0, rows_found = 0;
  std::int64_t longest = 0;        ///< tokens
  double seconds = 0;              ///< rough, of the rows that are left; 0: not known
  std::vector<std::string> notes;  ///< what these samples can resolve, in sentences
};
/// Where the model's layers go. Throws device errors where the longest prompt does not fit on several devices.
model::DeviceParts place_sweep(const PreparedSweep& sweep);
/// Throws device errors where the longest prompt does not fit.
/// `busy`: other work is going on, nothing is measured for the time.
SweepPreflight sweep_preflight(const PreparedSweep& sweep, bool busy = false);

struct SweepProgress {
  std::string sample, method;             ///< at work
  std::int64_t rows = 0, rows_total = 0;  ///< of this shard, those that were found counted as done
  double shard_eta_s = -1;                ///< seconds of work left here; -1: not known yet
  double whole_eta_s = -1;  ///< until the largest shard is done, if all began together and go at this rate
};

struct SweepOutcome {
  record::SweepRecord record;
  std::string record_path, store_path;
  std::int64_t rows_made = 0;
  double seconds = 0, prefill_seconds = 0;  ///< of this process; passes of different methods follow each other, so that
                                            ///< these are no times to compare methods by
  std::int64_t peak_bytes = 0;
};

struct SweepCallbacks {
  std::function<void(const SweepProgress&)> progress;
  std::function<void(const record::SweepRow&)> row_finished;  ///< it is on the disk
  std::function<void(const std::string&)> notice;
  std::function<void(const record::SweepRecord&, const std::string& path)> record_written;
};

/// Cancelled or failed: the record is written with what is finished, marked incomplete, then the error is thrown.
SweepOutcome sweep(PreparedSweep& prepared, const JobContext& job, const SweepCallbacks& callbacks = {});

}  // namespace headroom::experiment
