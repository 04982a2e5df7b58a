// SPDX-License-Identifier: Apache-2.0
// The CPU attention kernels (core/kernels/cpu/attention.h) on a layer's tensors, with LibTorch's threads.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "attention/policy.h"
#include "kernels/cpu/attention.h"

namespace headroom::attention {

/// Tasks on LibTorch's threads, each thread taking the next one when it is free. A stop of `job` is noticed between
/// tasks and thrown once all threads are back. Inside a parallel region one thread does it all.
kernels::cpu::RunTasks parallel_tasks(const JobContext& job);

/// Whether the kernels take this layer: on the CPU, heads of a multiple of 8.
bool has_cpu_kernels(const LayerQuery& query);

/// One layer packed for the kernels; keeps the tensors it reads alive.
class CpuLayer {
 public:
  CpuLayer(const LayerQuery& query, const JobContext& job);

  const kernels::cpu::AttentionLayer& kernels() const { return *layer_; }
  /// An empty [Hq, L, d] of q's type, laid out as [L, Hq, d], so that a row's heads lie side by side for the projection
  /// that follows.
  at::Tensor make_output() const;
  /// `out` from make_output(); `lse` [Hq, L] fp32 or undefined.
  kernels::cpu::LayerOutput output(const at::Tensor& out, const at::Tensor& lse) const;

 private:
  at::Tensor q_, k_, v_;
  std::unique_ptr<kernels::cpu::AttentionLayer> layer_;
};

}  // namespace headroom::attention
