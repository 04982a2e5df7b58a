// SPDX-License-Identifier: Apache-2.0
// What commands say of tasks.
#pragma once

#include <string>

#include "tasks/task.h"

namespace headroom::cli {

/// "niah_single_1, niah_single_2, …" for help texts.
inline std::string task_list() {
  std::string names;
  for (const std::string& name : tasks::task_names()) names += (names.empty() ? "" : ", ") + name;
  return names;
}

}  // namespace headroom::cli
