// SPDX-License-Identifier: Apache-2.0
// The run-time module of our CUDA kernels (core/kernels/cuda): opened once for the process, and what its callers share.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <string>

#include "kernels/cuda/cuda_kernels.h"

namespace headroom::attention {

struct CudaModule {
  const kernels::cuda::KernelTable* kernels = nullptr;  ///< null where they cannot run
  /// In words, then: "no CUDA compiler when this was built". With kernels: why those of attention are missing.
  std::string why_not;
};
/// For a device that LibTorch has opened.
CudaModule open_cuda_module(c10::Device device, c10::ScalarType dtype);

/// 90 for compute capability 9.0; 0 where it cannot be asked. Asked once for each device.
int compute_capability(c10::Device device);
/// The device's stream that LibTorch queues on, a cudaStream_t; null on the CPU.
void* stream_of(c10::Device device);
/// Throws a device error where a kernel's function returned a text; `what`: "sparse attention".
void check_kernel(const char* failed, const char* what);

}  // namespace headroom::attention
