// SPDX-License-Identifier: Apache-2.0
// The device a job runs on. The engine links LibTorch's CPU half alone; its CUDA half is opened here, at run time.
// Nothing may ask LibTorch about CUDA before (at::hasCUDA, at::manual_seed, is_pinned): it would keep "no CUDA" for
// the life of the process.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <string>
#include <vector>

namespace headroom::model {

struct DeviceChoice {
  c10::Device device = c10::Device(c10::DeviceType::CPU);
  std::string description;       ///< of this one: "CPU, 2 cores: AMD EPYC", "NVIDIA H100 80GB HBM3"
  std::string note;              ///< why "auto" is the CPU; what is wrong with its threads; else empty
  std::int64_t total_bytes = 0;  ///< memory of the device; CPU: base/machine_limits.h
  std::int64_t free_bytes = 0;   ///< when it was opened; 0 = not known
  /// Where the later layers of a model go: further GPUs, in the order that they were asked for.
  std::vector<DeviceChoice> others = {};
};

/// This one and the others, alone.
std::vector<DeviceChoice> each_of(const DeviceChoice& choice);
/// "NVIDIA H200", "2 x NVIDIA H200", "NVIDIA H200 + NVIDIA H100".
std::string description_of_all(const DeviceChoice& choice);
/// What opens it again: "cpu", "cuda:0", "cuda:0,cuda:1".
std::string request_for(const DeviceChoice& choice);

/// `request`: "auto" (CUDA where it works, else the CPU, with a note), "cpu", "cuda", "cuda:i", several of these with
/// commas between, or "cuda:all". A CUDA device is returned only after a small computation on it gave the right answer; never falls back silently. Throws usage errors
/// for anything else and device errors that name what is missing: GPU driver, a driver of 580 or newer, LibTorch's CUDA
/// half, other NVIDIA libraries, the index; or a build with HEADROOM_CUDA=OFF, which never opens a GPU.
DeviceChoice open_device(const std::string& request);
/// The same for work that one device does; a usage error that names `work` ("distill") where several are asked for.
DeviceChoice open_one_device(const std::string& request, const std::string& work);

/// Whether the CMake option HEADROOM_CUDA was on.
bool built_with_cuda();

/// Gives back what the allocator keeps of freed memory of the host. Between phases of a job, whose tensors have other
/// sizes: what one leaves in pieces is no use to the next and would add up. Not between timed passes.
void release_unused_memory();
/// LibTorch's threads, for all threads of the process: no more than this process may use (base/machine_limits.h), which
/// LibTorch does not ask. What OMP_NUM_THREADS says counts, even where it is more; the note of a CPU that is opened
/// afterwards says so, or that it is not understood. Once, at the start of the program.
void use_allowed_threads();

/// Waits until the device has done all its work; nothing on the CPU.
void synchronize(c10::Device device);

/// Most memory in use since the last reset: on a GPU what LibTorch allocated, on the CPU the process's resident set.
std::int64_t peak_bytes(c10::Device device);
void reset_peak_bytes(c10::Device device);
/// What of this process is in the host's memory now.
std::int64_t resident_bytes();

}  // namespace headroom::model
