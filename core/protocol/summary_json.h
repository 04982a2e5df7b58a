// SPDX-License-Identifier: Apache-2.0
// Method summaries and run metadata as JSON: the answer of `headroom run --json` (docs: command line) and what the
// window receives while a run goes on. No NaN: values that do not exist are null.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "record/types.h"

namespace headroom::protocol {

/// {kind: tokens|fraction|mass, value}
nlohmann::json to_json(const Budget& budget);
/// One entry of `methods` of `run --json`, with everything else that a MethodSummary holds beside the contract's
/// fields.
nlohmann::json to_json(const record::MethodSummary& summary);
/// Throws input errors; sizes are bounded.
record::MethodSummary method_summary_from_json(const nlohmann::json& json);

/// The run's own fields of `run --json` (`model`, `architecture`, `device`, `dtype`, `context`, …).
nlohmann::json to_json(const record::RunMeta& meta);
record::RunMeta run_meta_from_json(const nlohmann::json& json);

/// The whole answer of `run --json`. `record` is null where `record_path` is empty.
nlohmann::json run_result_json(const record::RunMeta& meta, std::int64_t tokens,
                               const std::vector<record::MethodSummary>& methods, const std::string& record_path);

}  // namespace headroom::protocol
