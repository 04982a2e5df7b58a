// SPDX-License-Identifier: Apache-2.0
// What the CPU kernels need of LibTorch's side: threads, and the element type of a tensor.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "kernels/cpu/attention.h"

namespace headroom::attention {

/// kernels::cpu::RunTasks over LibTorch's threads, one task after the other to whichever thread is free.
void run_tasks(std::int64_t count, const std::function<void(std::int64_t)>& task);

/// bf16 or fp32; throws an internal error for other types.
kernels::cpu::Element element_of(const at::Tensor& tensor);

}  // namespace headroom::attention
