// SPDX-License-Identifier: Apache-2.0
// What a job will allocate, counted from the shapes that the decoder, the attention paths and the analysis allocate by
// (docs/measurements.md compares the estimates with what was measured).
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "attention/policy.h"
#include "checkpoint/checkpoint.h"
#include "model/device.h"
#include "model/model_config.h"
#include "model/placement.h"

namespace headroom::experiment {

/// What is done with a prompt.
struct MemoryWorkload {
  std::int64_t length = 0;                        ///< tokens
  std::int64_t new_tokens = 0;                    ///< decoded afterwards; with any, the cache is made anew with room
  std::vector<const attention::Policy*> methods;  ///< one after the other; the largest counts, and all indexers
  bool supports_kept = false;                     ///< an observer keeps a layer's supports
  bool analysed = false;                          ///< recorded passes: each layer's statistics, on the host
  bool maps_kept = false;                         ///< and its maps go to the working file
  bool compared = false;                          ///< with dense's answer: a copy of the cache is decoded along it
  bool floor = false;                             ///< LibTorch's own products are timed (bench)
  bool all_logits = false;                        ///< of every position, on the host
  std::function<std::int64_t(std::int64_t length)> own;  ///< bytes of the caller's own, where the weights are
};

/// Peaks in bytes. The model's file is read piece by piece and counts nothing. On the CPU everything is on the host and
/// `device` is 0.
struct MemoryEstimate {
  std::int64_t weights = 0;  ///< on the device, or on the CPU's host; not in the figures below
  std::int64_t device = 0;   ///< beside the weights
  std::int64_t cache = 0;    ///< of that, what lies with the layers: keys and values
  std::int64_t host = 0;     ///< program, loading, work, analysis
};

MemoryEstimate estimate_memory(const checkpoint::Checkpoint& file, const model::ModelConfig& config,
                               c10::ScalarType dtype, c10::Device device, const MemoryWorkload& workload);

/// How much of the host's memory the estimates count that this process holds already: its own resident size, weights
/// apart, at most what the program itself is counted with.
std::int64_t resident_program_bytes(c10::Device device);

/// What this process's host can give to a job.
struct HostMemory {
  std::int64_t total = 0, free = 0;  ///< 0 = not known; what the estimates count and the process holds is free
  std::int64_t mapped_only = 0;      ///< to be added to what is needed: the limit counts what is mapped
  std::string limit;                 ///< what leaves no more, in words (base/machine_limits.h)
};
HostMemory host_memory(c10::Device device);

struct MemoryNeed {
  std::int64_t needed = 0, free = 0;  ///< `free` 0 is not known
  std::string limit, help;            ///< what leaves no more; what would help; either may be empty
};
/// Throws a device error where less is free at `place` than is needed.
void refuse_memory(const std::string& place, const MemoryNeed& need);

/// Tokens below `length` for which `needed` is at most `free`, rounded down to two digits; 0 where there are none.
std::int64_t longest_that_fits(std::int64_t length, std::int64_t free,
                               const std::function<std::int64_t(std::int64_t)>& needed);
/// What to do where `length` tokens do not fit, in words.
std::string memory_help(std::int64_t length, std::int64_t free, c10::ScalarType dtype, c10::Device device,
                        const std::function<std::int64_t(std::int64_t)>& needed);
/// Where the model's layers go. On several devices: by what each has free, with `given_back` bytes more on each (empty:
/// none), beside what the workload needs there. Throws a device error that says what is needed and what each device
/// has, where that is too little; on one device it is not asked.
model::DeviceParts place_decoder(const checkpoint::Checkpoint& file, const model::ModelConfig& config,
                                 c10::ScalarType dtype, const model::DeviceChoice& device,
                                 const MemoryWorkload& workload, const std::vector<std::int64_t>& given_back = {});

/// Refuses a program's only job before it loads anything. Throws device errors where a device or its host has less free
/// than is needed; returns what is.
MemoryEstimate refuse_what_cannot_fit(const checkpoint::Checkpoint& file, const model::ModelConfig& config,
                                      c10::ScalarType dtype, const model::DeviceChoice& device,
                                      MemoryWorkload workload);

/// "the work was estimated to need 45 GB there, and 79 GB were free before it": for when a GPU has too little anyway.
/// Empty for the CPU.
std::string memory_account(const MemoryEstimate& estimate, const model::DeviceChoice& device);

/// "1.4 GB"
std::string size_text(std::int64_t bytes);

}  // namespace headroom::experiment
