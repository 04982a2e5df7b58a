// SPDX-License-Identifier: Apache-2.0
#include "attention/parallel.h"

#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <atomic>

namespace headroom::attention {

kernels::cpu::RunTasks parallel_tasks(const JobContext& job) {
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

}  // namespace headroom::attention
