// SPDX-License-Identifier: Apache-2.0
// The one JSON form of what is said of a run and of a method: in records, in messages between window and engine and in
// `run --json` (docs: command line). No NaN: values that do not exist are null. Readers take hostile input: they check
// type, size and range of every field and throw input errors that name `place` and the field; fields that they do not
// know are ignored.
#pragma once

#include <array>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/json_fields.h"
#include "record/types.h"

namespace headroom::record {

/// Whether `id` may name a group: 1 to 64 of a-z A-Z 0-9 . _ - and not beginning with a dot.
bool is_method_id(std::string_view id);

/// By LayerRun.
inline constexpr std::array layer_run_names = {"other", "dense", "sparse"};

/// {kind: tokens|fraction|mass, value}
nlohmann::json to_json(const Budget& budget);
Budget budget_from_json(const nlohmann::json& json, const std::string& place);
/// {median, q1, q3, repeats}, milliseconds.
nlohmann::json to_json(const Quartiles& quartiles);
Quartiles quartiles_from_json(const nlohmann::json& json, const std::string& place);
/// {seconds, other_cpus, cpus, threads}, or null.
nlohmann::json to_json(const std::optional<MachineLoad>& load);
/// The field "machine_load"; none where it is not there or null.
std::optional<MachineLoad> load_of(Fields& fields, const std::string& place);
/// {position, candidates: [{id, text, dense, method}]}
nlohmann::json to_json(const AnswerPosition& position);
/// A list of those in ascending order.
std::vector<AnswerPosition> answer_positions_from_json(const nlohmann::json& list, const std::string& place);
/// {positions, kl_mean, kl_p95, top1_flips, first_divergence, first_difference}
nlohmann::json to_json(const ForcedComparison& forced);
/// {source, times, machine, dtype, threads, dense_backend, density, layers: [{run, dense_ms, sparse_ms}]}
nlohmann::json to_json(const TimingPlan& plan);
TimingPlan timing_plan_from_json(const nlohmann::json& json, const std::string& place);
/// What ran where in short: "dense" or "sparse" a layer, null for layers without full attention.
nlohmann::json layer_runs_json(const TimingPlan& plan);

/// Where the long lists and the answer's text are: in the JSON, or beside it in datasets of their own.
enum class Arrays { inside, beside };

/// One entry of `methods` of `run --json`, with everything else that a summary holds.
nlohmann::json to_json(const MethodSummary& summary, Arrays arrays = Arrays::inside);
/// Lists that are beside the JSON stay empty.
MethodSummary method_summary_from_json(const nlohmann::json& json, const std::string& place = "method");

/// The run's own fields of `run --json`.
nlohmann::json to_json(const RunMeta& meta);
RunMeta run_meta_from_json(const nlohmann::json& json, const std::string& place = "run");

}  // namespace headroom::record
