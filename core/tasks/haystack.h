// SPDX-License-Identifier: Apache-2.0
// A text of the user's in place of our essays, cut into sentences.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/progress.h"

namespace headroom::tasks {

struct Haystack {
  std::string source;                       ///< the path as given
  std::vector<std::string> sentences;       ///< UTF-8, one line each, in the order of the files
  std::string fingerprint;                  ///< SHA-256 of the sentences: part of what a sample depends on
  std::int64_t files = 0, passed_over = 0;  ///< files read; files below a folder that are no UTF-8 text
};

/// A text file (or a pipe), or every regular file below a folder in the order of their paths, hidden ones left out:
/// files that are no UTF-8 text are passed over and counted, where a single file is refused. White space becomes single
/// spaces; a sentence ends with '.', '!' or '?' (and quotes or brackets behind it), at an empty line, and before it
/// would exceed 240 bytes. Throws input errors naming the path: nothing there, no text in it, more than 64 MB.
Haystack read_haystack(const std::filesystem::path& path, const JobContext& job = {});

}  // namespace headroom::tasks
