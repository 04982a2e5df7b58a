// SPDX-License-Identifier: Apache-2.0
// Shards of a sweep become one.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "record/sweep/sweep_types.h"

namespace headroom::record {

struct SweepPart {
  std::string place;  ///< file name for messages
  SweepRecord record;
};

/// At least one part, all of one sweep: equal settings but for the shard. The result is complete where every row is
/// there, and then the same as if one process had made it. Throws input errors that name both files: another model,
/// another setting, a row that comes twice.
SweepRecord merge_sweeps(std::vector<SweepPart> parts);

/// "shard 2 of 4: 12 of 30 samples", a line a shard that is not complete; empty where all are.
std::vector<std::string> missing_of(const SweepRecord& merged, int shards);

}  // namespace headroom::record
