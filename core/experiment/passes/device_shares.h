// SPDX-License-Identifier: Apache-2.0
// What each of several devices did in timed passes, and what their hidden states' way took.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "experiment/passes/timed_pass.h"
#include "model/placement.h"
#include "record/types.h"

namespace headroom::experiment {

/// One share a part, none where there is one part. `weight_bytes`: by part; `peak_bytes`: by device. In each pass the
/// shares' `ms` and `transfer_ms` add up to all stages; the shares are medians over the passes (not empty).
std::vector<record::DeviceShare> device_shares(const model::DeviceParts& parts,
                                               std::span<const std::int64_t> weight_bytes,
                                               std::span<const std::int64_t> peak_bytes,
                                               const std::vector<TimedPass>& passes);

/// "between devices 0.7 ms; cuda:0 from layer 0 1452 ms, peak 86.0 GB; cuda:1 from layer 45 1333 ms, peak 92.3 GB":
/// what tables say of a method; `transfer_ms` is the median of all crossings. Empty without shares.
std::string device_line(double transfer_ms, const std::vector<record::DeviceShare>& shares);

}  // namespace headroom::experiment
