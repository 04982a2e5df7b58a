// SPDX-License-Identifier: Apache-2.0
#include "attention/cpu_tasks.h"

#include <ATen/Parallel.h>

#include <atomic>

#include "base/error.h"

namespace headroom::attention {

void run_tasks(std::int64_t count, const std::function<void(std::int64_t)>& task) {
  std::atomic<std::int64_t> next = 0;
  const std::int64_t threads = std::min<std::int64_t>(at::get_num_threads(), count);
  // One slot a thread; each takes the next task until none is left, so an uneven split leaves no thread idle.
  at::parallel_for(0, threads, 1, [&](std::int64_t from, std::int64_t to) {
    for (; from < to; ++from)
      for (std::int64_t i = next++; i < count; i = next++) task(i);
  });
}

kernels::cpu::Element element_of(const at::Tensor& tensor) {
  if (tensor.scalar_type() == at::kBFloat16) return kernels::cpu::Element::bf16;
  if (tensor.scalar_type() == at::kFloat) return kernels::cpu::Element::f32;
  throw Error(ErrorKind::internal, "a kernel was given a tensor that is neither bf16 nor fp32");
}

}  // namespace headroom::attention
