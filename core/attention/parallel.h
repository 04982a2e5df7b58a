// SPDX-License-Identifier: Apache-2.0
// Tasks on LibTorch's threads.
#pragma once

#include "base/progress.h"
#include "kernels/cpu/attention/attention.h"

namespace headroom::attention {

/// Each thread takes the next task when it is free. A stop of `job` is noticed between tasks and thrown once all threads
/// are back. Inside a parallel region one thread does it all. `job` must outlive the result.
kernels::cpu::RunTasks parallel_tasks(const JobContext& job);

}  // namespace headroom::attention
