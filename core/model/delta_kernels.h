// SPDX-License-Identifier: Apache-2.0
// Linear layers on our CUDA kernels (core/kernels/cuda/delta_net) where these are loaded and the layer's shape is
// theirs.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>

#include "attention/backends/cuda_module.h"
#include "base/progress.h"
#include "model/model_config.h"

namespace headroom::model {

/// The kernels for such a layer, or why LibTorch's operators compute it.
attention::CudaModule open_delta_kernels(const DeltaSpec& spec, c10::Device device, c10::ScalarType dtype);

/// "linear layers by Headroom CUDA kernels, sm_90a", "linear layers by LibTorch: the CUDA kernels are for bf16"; empty
/// on the CPU and where no layer is linear.
std::string linear_layers_text(const ModelConfig& config, c10::Device device, c10::ScalarType dtype);

/// Of R rows of a layer, on a GPU.
struct DeltaLayerRows {
  at::Tensor qkvz;               ///< bf16 [R, channels + value width]
  at::Tensor rates;              ///< bf16 [R, 2 Hv]
  at::Tensor before;             ///< bf16 [kernel - 1, channels], without gaps; undefined: zeros
  at::Tensor conv, decay, time;  ///< fp32 [kernel, channels], [Hv], [Hv], without gaps
};

/// Convolution and gated delta rule into `heads` [R, Hv dv] bf16, in value heads' order; `memory` [Hk, Hv / Hk, dk, dv]
/// fp32, without gaps, holds the state before and after. Polls `job` between pieces of rows. Throws device errors.
void delta_by_kernels(const kernels::cuda::KernelTable& kernels, const DeltaSpec& spec, const DeltaLayerRows& rows,
                      const at::Tensor& memory, const at::Tensor& heads, const JobContext& job);

/// Norm of each head (`norm` fp32 [dv]) and the gate: heads / rms(heads) * norm * silu(z), all bf16 [R, Hv dv], into
/// `out`, without gaps.
void delta_gate_by_kernels(const kernels::cuda::KernelTable& kernels, const DeltaSpec& spec, const at::Tensor& heads,
                           const at::Tensor& z, const at::Tensor& norm, double epsilon, const at::Tensor& out);

}  // namespace headroom::model
