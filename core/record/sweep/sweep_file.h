// SPDX-License-Identifier: Apache-2.0
// A sweep as an HDF5 file, sealed like a run's record and read by h5py without our code (docs/sweeps.md): columns of
// equal length under /rows, the settings as JSON under /sweep/json. The same rows give the same bytes.
#pragma once

#include <filesystem>

#include "base/output_file.h"
#include "record/sweep/sweep_types.h"

namespace headroom::record {

/// Rows in the order of sort_rows(). Returns where the file is: see OutputFile::commit(). Throws device errors.
std::filesystem::path write_sweep(OutputPlace& place, const SweepRecord& record);
/// Untrusted input: every column's size, range and key is checked. Throws input errors that name file and dataset.
SweepRecord read_sweep(const std::filesystem::path& file);
/// Whether a sealed file holds a sweep; false for anything else, run records included.
bool is_sweep(const std::filesystem::path& file);

}  // namespace headroom::record
