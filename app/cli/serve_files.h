// SPDX-License-Identifier: Apache-2.0
// files/list and record/chunk: what the window may see of this machine's disk.
#pragma once

#include <filesystem>
#include <vector>

#include "protocol/messages.h"

namespace headroom::cli {

/// Folders that may be browsed and read; everything below them, links resolved.
class ServedFolders {
 public:
  explicit ServedFolders(const std::vector<std::filesystem::path>& folders);
  const std::vector<std::filesystem::path>& folders() const { return folders_; }
  /// The real path of `path`. Throws input errors where it does not exist or lies outside; `anywhere`: lie where it
  /// may.
  std::filesystem::path resolve(const std::string& path, bool anywhere = false) const;

  protocol::FilesListResult list(const protocol::FilesListParams& params) const;
  /// Only records (files that begin as HDF5 files do, sealed or not) and stores of sweeps, whose version stays as they
  /// grow. `own`: a job of this engine wrote it, to where it was told to, which need not be one of the folders.
  protocol::RecordChunkResult chunk(const protocol::RecordChunkParams& params, bool own = false) const;

 private:
  bool inside(const std::filesystem::path& real) const;
  std::vector<std::filesystem::path> folders_;
};

}  // namespace headroom::cli
