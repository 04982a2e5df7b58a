// SPDX-License-Identifier: Apache-2.0
// LibTorch's types as the CPU kernels name them.
#pragma once

#include <ATen/core/Tensor.h>

#include "kernels/cpu/attention/attention.h"

namespace headroom::attention {

/// bf16, else fp32: a model's tensors have one of the two.
inline kernels::cpu::Element element_of(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kBFloat16 ? kernels::cpu::Element::bf16 : kernels::cpu::Element::f32;
}

}  // namespace headroom::attention
