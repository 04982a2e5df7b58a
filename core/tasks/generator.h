// SPDX-License-Identifier: Apache-2.0
// How a task makes a sample. A new task is a new file in generators/ that defines `Generator entry_<file>()`; the build
// collects them. Here too: what generators share.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tasks/random.h"
#include "tasks/task.h"

namespace headroom::tasks {

struct Generator {
  std::string_view name;
  /// The sample with `units` units of haystack (the task's own measure, 0 or more). `random` starts anew at each call,
  /// so that key, value and depth stay the same while the length is being fitted.
  Sample (*make)(std::int64_t units, Random random);
};
std::vector<Generator> generators();

/// "brisk-otter": from this project's own lists, which distillation does not share.
std::string random_key(Random& random);
/// Every word that random_key() can give.
std::vector<std::string_view> key_words();
/// Seven digits, the first not 0.
std::string random_number(Random& random);

}  // namespace headroom::tasks
