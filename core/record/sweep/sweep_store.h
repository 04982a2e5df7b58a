// SPDX-License-Identifier: Apache-2.0
// The append-only store of a sweep at work: JSON lines beside the record, each with its checksum, each on the disk
// before the next sample begins. One line is one row, so a process that is killed loses at most the row it was at. Text
// lines rather than a data base: nothing else to install, `tail` and `jq` read them, an append needs no locks that
// cluster file systems lack, and a torn end is told from a damaged middle by its place.
#pragma once

#include <filesystem>
#include <string>

#include "record/sweep/sweep_types.h"

namespace headroom::record {

/// "S.h5" -> "S.h5.rows.jsonl".
std::filesystem::path sweep_store_path(const std::filesystem::path& record);

/// What a store holds. Lines: {"crc32c": "<8 digits>", "line": {"meta" | "device" | "row" | "curves": …}}; the checksum
/// is of the text of `line`. The first is the meta.
struct SweepStoreContent {
  SweepRecord record;            ///< rows sorted; devices in the meta
  std::int64_t whole_bytes = 0;  ///< up to the end of the last whole line
  bool torn = false;             ///< something stands behind: what was written when the process ended
};

/// Throws input errors that name file and line: not a store, damaged before its last line, a row twice, a row of
/// another shard, a value out of range. A store whose process ended before its first line was whole has no bytes and no
/// meta.
SweepStoreContent read_sweep_store(const std::filesystem::path& file);

class SweepStore {
 public:
  /// Begins a store (there must be none), or goes on with one: `found` is what it holds, and a torn end is cut off.
  /// Throws input errors where another process writes it, device errors where it cannot be written.
  SweepStore(const std::filesystem::path& file, const SweepMeta& meta, const std::string& device,
             const SweepStoreContent* found);
  ~SweepStore();
  SweepStore(const SweepStore&) = delete;
  SweepStore& operator=(const SweepStore&) = delete;

  // On the disk when they return. Throw device errors; the line is then not in the store.
  void add(const SweepRow& row);
  void add(const SweepCurves& curves);

  const std::filesystem::path& path() const { return path_; }

 private:
  void append(const char* kind, const nlohmann::json& value);

  std::filesystem::path path_;
  SweepMeta meta_;
  std::int64_t bytes_ = 0;
  int descriptor_ = -1;
};

}  // namespace headroom::record
