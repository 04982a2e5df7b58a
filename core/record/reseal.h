// SPDX-License-Identifier: Apache-2.0
// A record that another program changed has lost its seal and is refused. Whoever trusts that program has it read once
// through the HDF5 library and written anew.
#pragma once

#include <filesystem>

#include "base/output_file.h"
#include "base/progress.h"

namespace headroom::record {

/// Reads every group, dataset and attribute of the HDF5 file `in` and writes them as a record; then reads all of that
/// record by its own rules. The library is not safe on hostile files, so a child process does it: where that dies or
/// takes more than `seconds`, the error says so. Throws input errors: no HDF5 file, what a record may not hold (by its
/// path), a record that its own reader refuses; device errors where the disk is full. Returns where the record is.
std::filesystem::path reseal(const std::filesystem::path& in, OutputPlace& out, const JobContext& job = {},
                             double seconds = 600);

}  // namespace headroom::record
