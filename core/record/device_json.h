// SPDX-License-Identifier: Apache-2.0
// The one JSON form of what each of several devices did: in records, `run --json` and `bench --json`.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "record/types.h"

namespace headroom::record {

inline constexpr std::size_t most_devices = 128;

/// [{device, first_layer, weight_bytes, peak_bytes, ms, transfer_ms}]
nlohmann::json to_json(const std::vector<DeviceShare>& shares);
/// Takes hostile input, a list; `transfer_ms` may be missing, earlier versions did not write it.
std::vector<DeviceShare> devices_from_json(const nlohmann::json& list, const std::string& place);

}  // namespace headroom::record
