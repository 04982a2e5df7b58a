// SPDX-License-Identifier: Apache-2.0
// SweepSpec: what `headroom sweep` was asked to do, the same JSON on the command line and in the protocol; and what the
// engine says of a sweep before and while it runs.
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

struct SweepSpec {
  std::string model;                    ///< path or short name
  std::optional<std::string> adapter;   ///< folder or file of a LoRA adapter to merge into it
  std::vector<std::string> tasks;       ///< of task_names(); with lengths. Or
  std::vector<std::int64_t> lengths;    ///< tokens of prompt and answer
  std::optional<std::string> prompts;   ///< a file or folder of the user's own (tasks/prompt_file.h)
  std::optional<std::string> haystack;  ///< a text or folder in place of ours, in the tasks that have an essay
  std::vector<std::string> methods;     ///< as RunSpec::methods; dense is always among them
  std::vector<Budget> budgets = {{BudgetKind::tokens, 512}};
  std::optional<LayerBudgets> layer_budgets;  ///< beside `budgets`, as in RunSpec
  std::vector<std::int64_t> granularities = {1};
  std::optional<std::int64_t> sinks, local;
  std::int64_t samples = 50;     ///< of each task and length; of own prompts each is one
  std::uint64_t seed = 0;        ///< of the first sample
  std::int64_t calibration = 8;  ///< dense samples of each task and length that choose tasks and are never scored
  std::int64_t prompt_tail = 0;  ///< tokens at a prompt's end whose NLL and KL causal methods are scored on
  std::optional<std::int64_t> max_new_tokens;
  std::optional<std::string> system_file;
  std::map<std::string, std::string> template_arguments;  ///< JSON texts by name
  std::optional<std::string> indexer;
  std::vector<int> dense_layers;
  std::string device = "auto", dtype = "auto";
  int shard = 1, shards = 1;
  bool resume = false;
  std::string out;  ///< S.h5; the store is beside it
};

nlohmann::json to_json(const SweepSpec& spec);
/// Throws usage errors that name the field, what was expected and what was found; unknown fields are refused. What
/// needs the model is checked by experiment::prepare_sweep().
SweepSpec sweep_spec_from_json(const nlohmann::json& json);

/// What a sweep will need, and what its samples can say.
struct SweepNeeds {
  std::int64_t memory_needed = 0, memory_free = 0;     ///< bytes where the weights are; free 0: not known
  std::int64_t samples = 0, rows = 0, rows_found = 0;  ///< rows_found: finished already, where one is gone on with
  std::int64_t longest = 0;                            ///< tokens
  double seconds = 0;                                  ///< rough, of what is left; 0: not known
  std::string device, dtype;
  std::vector<std::string> methods;          ///< ids, dense first
  std::vector<std::string> notes, warnings;  ///< sentences: what these samples can resolve; what to know of them
};
nlohmann::json to_json(const SweepNeeds& needs);
SweepNeeds sweep_needs_from_json(const nlohmann::json& json);

/// job/row: a row is on the disk, in the store beside the sweep's file.
struct JobRow {
  std::int64_t job = 0;
  std::string task, method;  ///< by name and id
  std::int64_t length = 0, rows = 0, rows_total = 0;
  std::string store;  ///< path, where the engine runs
};
nlohmann::json to_json(const JobRow& row);
JobRow job_row_from_json(const nlohmann::json& json);

}  // namespace headroom::protocol
