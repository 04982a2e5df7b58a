// SPDX-License-Identifier: Apache-2.0
// What every CPU kernel says of its data and of the threads that it is run on.
#pragma once

#include <cstdint>
#include <functional>

namespace headroom::kernels::cpu {

enum class Element { bf16, f32 };

/// Runs task(0) … task(count - 1), each once, on any threads, begun in about this order; returns when all are done.
/// Long tasks come first. An exception of a task reaches the caller.
using RunTasks = std::function<void(std::int64_t count, const std::function<void(std::int64_t)>& task)>;

}  // namespace headroom::kernels::cpu
