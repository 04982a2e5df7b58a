// SPDX-License-Identifier: Apache-2.0
// The answer of `headroom run --json` (docs: command line), made of the JSON that records hold (record/record_json.h).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "record/types.h"

namespace headroom::protocol {

/// The run's own fields, `tokens`, `methods` and `record`, which is null where `record_path` is empty.
nlohmann::json run_result_json(const record::RunMeta& meta, std::int64_t tokens,
                               const std::vector<record::MethodSummary>& methods, const std::string& record_path);

}  // namespace headroom::protocol
