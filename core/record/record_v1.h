// SPDX-License-Identifier: Apache-2.0
// Records of schema 1, in which all layers were alike and methods were known by their names: their texts in the form
// of today. Their datasets are the same. And figures of schemas 1 and 2 that had the name of another one.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "record/types.h"

namespace headroom::record {

/// Text of /meta/json, but for schema_version and methods, which stay as they are. Throws input errors.
nlohmann::json upgrade_meta_v1(const nlohmann::json& old, const std::string& place);
/// Text of /methods/<id>/summary_json.
nlohmann::json upgrade_summary_v1(const nlohmann::json& old, const std::string& place);
/// Role, scope, score, look and title of the five methods that schema 1 knew by their names alone; any other name: a
/// deployable method that is called by its name. Sets nothing else.
void describe_by_name_v1(MethodSummary& summary);

/// What schemas 1 and 2 called L2 is the Frobenius distance; their recall of the keys of 95 % of the mass was no share
/// of what the oracle reaches: it goes.
void rename_figures_v2(MethodSummary& summary);
/// The statistic that schemas 1 and 2 called `name`: "missed_mass" was the uncaptured mass.
std::string statistic_name_v2(const std::string& name);

}  // namespace headroom::record
