// SPDX-License-Identifier: Apache-2.0
// The texts of a record: metadata and method summaries as JSON. Arrays live in datasets of their own, not here.
// Internal to core/record.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "record/types.h"

namespace headroom::record {

/// Text of /meta/json. `methods` are the ids in their order.
std::string meta_to_json(const RunMeta& meta, const std::vector<std::string>& methods);
/// Throws input errors that name `place` and the field.
RunMeta meta_from_json(const std::string& text, std::vector<std::string>& methods, const std::string& place);

/// Text of /methods/<id>/summary_json: everything but arrays and the answer.
std::string summary_to_json(const MethodSummary& summary);
MethodSummary summary_from_json(const std::string& text, const std::string& place);

/// Whether `id` may name a group: 1 to 64 of a-z A-Z 0-9 . _ - and not beginning with a dot.
/// By LayerRun.
inline constexpr std::array layer_run_names = {"other", "dense", "sparse"};
/// A plan as records and messages hold it; null for times that are not known.
nlohmann::json plan_to_json(const TimingPlan& plan);

bool is_method_id(std::string_view id);

}  // namespace headroom::record
