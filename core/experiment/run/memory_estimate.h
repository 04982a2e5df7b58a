// SPDX-License-Identifier: Apache-2.0
// What a job will allocate, counted from the shapes that the decoder, the attention paths and the analysis allocate by
// (docs/measurements.md compares the estimates with what was measured).
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <vector>

#include "attention/policy.h"
#include "checkpoint/checkpoint.h"
#include "model/model_config.h"
#include "model/device.h"

namespace headroom::experiment {

/// What is done with a prompt.
struct MemoryWorkload {
  std::int64_t length = 0;                     ///< tokens
  std::int64_t new_tokens = 0;                 ///< decoded afterwards; with any, the cache is made anew with room
  std::vector<const attention::Policy*> methods;  ///< one after the other; the largest counts
  bool supports_kept = false;                  ///< an observer keeps a layer's supports
  bool analysed = false;                       ///< recorded passes: each layer's statistics, on the host
  bool maps_kept = false;                      ///< and its maps go to the working file
  bool all_logits = false;                     ///< of every position, on the host
  std::int64_t indexer_values = 0;             ///< elements of the indexer's weights; 0 without one
};

/// Peaks in bytes, without the pages of the mapped model file, which make way. On the CPU everything is on the host and
/// `device` is 0.
struct MemoryEstimate {
  std::int64_t weights = 0;  ///< on the device, or on the CPU's host; not in the figures below
  std::int64_t device = 0;   ///< beside the weights
  std::int64_t host = 0;     ///< program, loading, work, analysis
};

MemoryEstimate estimate_memory(const checkpoint::Checkpoint& file, const model::ModelConfig& config,
                               c10::ScalarType dtype, c10::Device device, const MemoryWorkload& workload);

/// How much of the host's memory the estimates count that this process holds already: its own resident size, weights
/// apart, at most what the program itself is counted with.
std::int64_t resident_program_bytes(c10::Device device);

/// Throws a device error where less is free at `place` than is needed; `free` 0 is not known.
void refuse_memory(const std::string& place, std::int64_t needed, std::int64_t free);
/// Refuses a program's only job before it loads anything. Throws device errors where a device or its host has less free
/// than is needed.
void refuse_what_cannot_fit(const MemoryEstimate& needed, const model::DeviceChoice& device);

/// "1.4 GB"
std::string size_text(std::int64_t bytes);

}  // namespace headroom::experiment
