// SPDX-License-Identifier: Apache-2.0
// RunSpec: what `headroom run` was asked to do, the same JSON on the command line, in the protocol and in the record.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/budget.h"
#include "base/layer_budgets.h"

namespace headroom::protocol {

struct RunSpec {
  std::string model;  ///< path or short name
  std::optional<std::string> adapter;  ///< folder or file of a LoRA adapter to merge into it
  // Exactly one of the four:
  std::optional<std::string> prompt;
  std::optional<std::string> prompt_file;
  std::optional<std::string> task;  ///< e.g. "niah_single_1"
  std::optional<std::string> prompts;  ///< a JSONL file or a folder (tasks/prompt_file.h), of which `index` is run
  std::int64_t length = 0;             ///< with task: tokens of the whole prompt and its answer
  std::optional<std::string> haystack;  ///< with a task that has an essay: a text or a folder of texts in its place
  std::int64_t index = 0;               ///< with prompts
  std::uint64_t seed = 0;
  bool chat = false;
  std::optional<std::string> system_file;
  std::map<std::string, std::string> template_arguments;  ///< of the chat template: JSON texts by name
  std::string answer_prefix;
  /// "name" or "name:parameter=value:…"; empty: dense, the references, and the indexer if a shipped one fits.
  std::vector<std::string> methods;
  std::vector<Budget> budgets = {{BudgetKind::tokens, 512}};
  /// Beside `budgets`, which may then be empty: one more setting of each method, with a budget for each layer.
  std::optional<LayerBudgets> layer_budgets;
  std::vector<std::int64_t> granularities = {1};
  std::optional<std::int64_t> sinks, local;  ///< forced keys; unset: each method's own
  std::optional<std::string> indexer;
  std::vector<int> dense_layers;
  std::string device = "auto";  ///< base/device_request.h
  std::string dtype = "auto";   ///< auto, bf16, f32
  int repeats = 3;
  std::optional<std::int64_t> max_new_tokens;  ///< of an answer; unset: the task's own, 16 without a task
  std::vector<int> keep_layers;                ///< empty: worst captured mass first until the limit
  std::int64_t keep_queries = 0;               ///< last n query rows; 0 = all
  std::int64_t record_limit = 256LL << 20;     ///< bytes
  /// Libraries whose dense attention is timed, too: "libtorch", "fa2", "cudnn" (GPUs, bf16), or "all" that are to be had.
  std::vector<std::string> baselines;
  std::optional<std::string> plan;  ///< a plan file, or "none": timed passes run as recorded; unset: automatic
  std::optional<std::string> out;
};

nlohmann::json to_json(const RunSpec& spec);
/// Throws usage errors that name the field, what was expected and what was found; unknown fields are refused.
RunSpec run_spec_from_json(const nlohmann::json& json);
/// Cross-checks that need no model (exactly one prompt source, budgets present, sizes in range). Throws usage errors.
void validate(const RunSpec& spec);

}  // namespace headroom::protocol
