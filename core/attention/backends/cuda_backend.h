// SPDX-License-Identifier: Apache-2.0
// Our CUDA kernels (core/kernels/cuda), opened at run time as the device is: exact top-k of scores and sparse attention
// over unions of neighbouring supports, bf16, on Hopper. Everything else of a layer is LibTorch's.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "attention/backend.h"

namespace headroom::attention {

struct CudaKernels {
  std::shared_ptr<const Backend> backend;  ///< null where the kernels cannot run
  std::string why_not;                     ///< in words, then: "no CUDA compiler when this was built"
};
/// For a device that LibTorch has opened and head sizes of a model's full layers.
CudaKernels open_cuda_kernels(c10::Device device, c10::ScalarType dtype, std::span<const std::int64_t> head_dims);

}  // namespace headroom::attention
