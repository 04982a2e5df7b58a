// SPDX-License-Identifier: Apache-2.0
#include "attention/cpu_layer.h"

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>

namespace headroom::attention {
namespace cpu = kernels::cpu;

cpu::RunTasks parallel_tasks(const JobContext& job) {
  return [&job](std::int64_t count, const std::function<void(std::int64_t)>& task) {
    std::atomic<std::int64_t> next = 0;
    const auto work = [&] {
      for (std::int64_t i = next++; i < count && !job.stop.stop_requested(); i = next++) task(i);
    };
    const std::int64_t threads = at::in_parallel_region() ? 1 : std::min<std::int64_t>(at::get_num_threads(), count);
    if (threads <= 1) {
      work();
    } else {
      at::parallel_for(0, threads, 1, [&](std::int64_t, std::int64_t) {
        const c10::InferenceMode guard;
        work();
      });
    }
    job.check();
  };
}

bool has_cpu_kernels(const LayerQuery& query) {
  return query.q.is_cpu() && query.head_dim() % 8 == 0;
}

CpuLayer::CpuLayer(const LayerQuery& query, const JobContext& job)
    : q_(query.q.contiguous()), k_(query.k.contiguous()), v_(query.v.contiguous()) {
  cpu::LayerInput input;
  input.element = q_.scalar_type() == at::kBFloat16 ? cpu::Element::bf16 : cpu::Element::f32;
  input.num_q_heads = query.num_q_heads();
  input.num_kv_heads = query.num_kv_heads();
  input.length = query.length();
  input.head_dim = query.head_dim();
  input.scale = static_cast<float>(query.scale);
  input.q = q_.const_data_ptr();
  input.k = k_.const_data_ptr();
  input.v = v_.const_data_ptr();
  layer_ = cpu::make_attention_layer(input, parallel_tasks(job));
}

at::Tensor CpuLayer::make_output() const {
  return at::empty({q_.size(1), q_.size(0), q_.size(2)}, q_.options()).transpose(0, 1);
}

cpu::LayerOutput CpuLayer::output(const at::Tensor& out, const at::Tensor& lse) const {
  cpu::LayerOutput result;
  result.out = out.mutable_data_ptr();
  result.head_stride = out.stride(0);
  result.row_stride = out.stride(1);
  if (lse.defined()) result.lse = lse.mutable_data_ptr<float>();
  return result;
}

}  // namespace headroom::attention
