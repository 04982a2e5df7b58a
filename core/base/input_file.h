// SPDX-License-Identifier: Apache-2.0
// Files that are read whole and once: a pipe will do.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

#include "base/progress.h"

namespace headroom {

struct InputKind {
  std::string what;       ///< what is expected there: "a text file"
  std::string too_large;  ///< "is too large for a prompt"
  std::size_t max_bytes = 0;
};

/// The bytes of a regular file, or of what can be read but once: a pipe, a FIFO (its writer is waited for, until a stop
/// of `job`), a terminal. Throws input errors naming the file: nothing there, a folder, too large.
std::string read_input_file(const std::filesystem::path& file, const InputKind& kind, const JobContext& job = {});

/// Whether it can be read but once.
bool reads_once(const std::filesystem::path& file);

}  // namespace headroom
