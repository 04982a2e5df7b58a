// SPDX-License-Identifier: Apache-2.0
// What a run will need and leave, said before it starts: memory, disk, rough time, what the record will keep.
#pragma once

#include <filesystem>
#include <optional>

#include "experiment/run/prepared_run.h"
#include "experiment/run/session.h"
#include "protocol/messages.h"

namespace headroom::experiment {

/// What the process holds and does already when a run is looked at; nothing for a program that does one run.
struct EngineLoad {
  std::optional<LoadedWeights> weights;  ///< of the session that the run will get: used again, or given back first
  /// A job is queued or at work: nothing is measured (the time is left out where no rate is known), and what is free is
  /// what will be once it has ended. Ask again when the run's turn comes.
  bool busy = false;
};

/// Dense passes that a sparse method's pass takes, roughly, where no better figure is at hand.
inline constexpr double sparse_passes = 3;
/// Rough seconds of one dense prefill, from the rate of one small matrix product, which is measured once a process and
/// never while `busy`; 0 where it is not known.
double prefill_seconds(const Session& session, c10::Device device, c10::ScalarType dtype, std::int64_t length,
                       bool busy);

/// Where a run's working file lies: beside its record, else with temporary files.
std::filesystem::path scratch_folder(const PreparedRun& run);
/// What the estimate says of the run's GPU, in words; empty on the CPU.
std::string memory_account(const PreparedRun& run);
/// What the run's GPU has free beside all that the estimate counts; 0 on the CPU.
std::int64_t spare_device_bytes(const PreparedRun& run);
/// The layers whose maps go to the working file: those that are kept where those of all would take more than
/// 16 of the record's limits, else all (empty).
std::vector<int> map_layers(const PreparedRun& run);

/// Estimates; nothing is loaded onto the device. Warnings say what does not fit and what would.
protocol::Preflight preflight(const PreparedRun& run, const EngineLoad& engine = {});

/// Where the run's layers go; as the session has them loaded, where it has them on these devices already. Throws device
/// errors where they do not fit.
model::DeviceParts place(const PreparedRun& run);

/// The part that is worth refusing: throws device errors where weights and working memory exceed what the device or its
/// host has free. `preflight`: of this run.
void refuse_what_cannot_fit(const PreparedRun& run, const protocol::Preflight& preflight);

}  // namespace headroom::experiment
