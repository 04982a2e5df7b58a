// SPDX-License-Identifier: Apache-2.0
// A sweep: many samples, each scored under dense and every other method (docs/sweeps.md). What was asked for, and one
// row a sample and method.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/budget.h"
#include "base/method.h"
#include "record/types.h"

namespace headroom::record {

inline constexpr int sweep_schema_version = 1;

/// One task of a sweep; the user's own prompts are one, too.
struct SweepTask {
  std::string name;        ///< "niah_single_1"; own_prompts for prompts that name no task
  std::string title;       ///< for people
  bool in_family = false;  ///< of the kind that indexers are distilled on (METHOD.md, "No leakage")
  bool has_score = true;   ///< false: prompts without a reference answer
};
inline constexpr const char* own_prompts = "prompts";

struct SweepMethod {
  std::string id;  ///< "oracle-k512-g1"
  std::string name, title;
  MethodRole role = MethodRole::dense;
  SupportScope scope = SupportScope::layer;
  ScoreKind score = ScoreKind::none;
  int look = 0;
  bool causal = true;
  bool is_default = false;  ///< of the methods that run where none is named: the oracle and the indexer of the gaps
  std::map<std::string, std::string> parameters;
  std::string fingerprint;
  std::optional<Budget> budget;  ///< none for dense
  std::int64_t granularity = 1;

  bool is_dense() const { return role == MethodRole::dense; }
};

/// What names a sample: the same in every shard and after a restart.
struct SweepSample {
  std::size_t task = 0;      ///< index in SweepMeta::tasks
  std::int64_t length = 0;   ///< tokens that were asked for; 0 for the user's own prompts
  std::int64_t seed = 0;     ///< of a task; of own prompts their index
  bool calibration = false;  ///< dense alone, never scored: chooses the tasks of a macro mean

  auto operator<=>(const SweepSample&) const = default;
};

struct SweepMeta {
  std::string created;  ///< UTC
  std::string program_version;
  std::string model_name, model_file, model_sha256, architecture, dtype;
  std::int64_t context = 0;
  std::vector<LayerMeta> layers;
  std::vector<std::string> devices;  ///< every one that rows were made on
  std::string indexer_file, indexer_sha256;
  std::int64_t indexer_trained_length = 0;
  std::vector<int> dense_layers;
  std::string rendering;                          ///< "chat", "plain", or "as each prompt asks"
  std::string system_sha256, template_arguments;  ///< of the system message; JSON; empty where there is none
  std::string haystack_sha256;                    ///< of a text in place of ours; empty where there is none
  std::vector<SweepTask> tasks;
  std::vector<std::int64_t> lengths;        ///< {0} for own prompts
  std::int64_t samples = 0;                 ///< of each task and length
  std::int64_t seed = 0;                    ///< of the first sample; the others follow it
  std::int64_t calibration = 0;             ///< samples of each task and length that are never scored
  std::string prompts, prompts_sha256;      ///< the file's name and its fingerprint; empty for generated tasks
  std::vector<SweepSample> prompt_samples;  ///< of own prompts: task and index of each
  std::optional<std::int64_t> max_new_tokens;
  std::int64_t prompt_tail = 0;      ///< tokens at the prompt's end whose NLL and KL are scored, causal methods alone
  std::int64_t curves = 0;           ///< dense samples of each task and length whose mass curves are kept
  std::vector<SweepMethod> methods;  ///< dense first
  int shard = 1, shards = 1;
  bool complete = false;

  bool is_own_prompts() const { return !prompts_sha256.empty(); }
  std::int64_t num_layers() const { return static_cast<std::int64_t>(layers.size()); }
};

/// Seeds of calibration samples lie so far behind those of scored ones.
inline constexpr std::int64_t calibration_seeds = 1'000'000'000;
inline constexpr std::int64_t max_sweep_samples = 100'000;

/// Teacher-forced along dense's own greedy continuation, decoded after the prefill. Nats.
struct SweepForced {
  std::int64_t positions = 0, top1_flips = 0;
  std::optional<std::int64_t> first_divergence;  ///< position; none: the same answer to the last token
  double kl_mean = 0, kl_p95 = 0;                ///< KL(dense || method)
  double nll_mean = 0;                           ///< of dense's tokens under the method
};

struct SweepRow {
  SweepSample sample;
  std::size_t method = 0;                       ///< index in SweepMeta::methods
  std::int64_t tokens = 0;                      ///< of the prompt
  std::optional<double> score;                  ///< 0 to 100; none without a reference answer
  double density = 1;                           ///< causal pairs really attended / all, over the full layers
  std::optional<SweepForced> forced;            ///< none in calibration
  std::optional<double> prompt_nll, prompt_kl;  ///< over the prompt's tail; none for methods that are not causal
  bool answer_cut = false;                      ///< the limit ended it
  std::string answer;
  /// Relative L2 distance of each layer's output from dense's, mean over rows with history > k; NaN where there is
  /// none.
  std::vector<float> output_l2;
};

/// Mass curves of dense attention in one sample: [layers, 3 (mean, p10, min), budgets]; NaN for layers that are not
/// full.
struct SweepCurves {
  SweepSample sample;
  std::int64_t tokens = 0;
  std::vector<std::int64_t> budgets;
  std::vector<float> values;

  float at(std::int64_t layer, int statistic, std::size_t budget) const {
    return values[(static_cast<std::size_t>(layer) * 3 + static_cast<std::size_t>(statistic)) * budgets.size() +
                  budget];
  }
};

struct SweepRecord {
  SweepMeta meta;
  std::vector<SweepRow> rows;       ///< in the order of sort_rows()
  std::vector<SweepCurves> curves;  ///< in the order of their samples
};

/// Every sample of the whole sweep, calibration first, then task by task and length by length.
std::vector<SweepSample> all_samples(const SweepMeta& meta);
/// The shard, 1 … shards, that a sample belongs to: by a hash of model, task, length, seed; the methods of a sample
/// stay together, since they share its dense pass.
int shard_of(const SweepMeta& meta, const SweepSample& sample, int shards);
/// Samples of the meta's own shard.
std::vector<SweepSample> own_samples(const SweepMeta& meta);
/// "niah_single_1, 2048 tokens, seed 5", for messages.
std::string describe(const SweepMeta& meta, const SweepSample& sample);
/// Rows in the order of samples, then methods; whatever order they were finished in.
void sort_rows(SweepRecord& record);
/// Whether every row of the meta's shard is there.
bool has_all_rows(const SweepRecord& record);

/// The one JSON form of each; readers take hostile input and throw input errors that name `place`.
nlohmann::json to_json(const SweepMeta& meta);
SweepMeta sweep_meta_from_json(const nlohmann::json& json, const std::string& place);
nlohmann::json to_json(const SweepMeta& meta, const SweepRow& row);
SweepRow sweep_row_from_json(const SweepMeta& meta, const nlohmann::json& json, const std::string& place);
nlohmann::json to_json(const SweepMeta& meta, const SweepCurves& curves);
SweepCurves sweep_curves_from_json(const SweepMeta& meta, const nlohmann::json& json, const std::string& place);

/// The first setting in which the two differ, by name, with both values; empty where rows of the one are rows of the
/// other. Devices, time and completeness are no settings; shards are one unless `across_shards`.
struct SettingDifference {
  std::string name, expected, found;
};
std::optional<SettingDifference> different_setting(const SweepMeta& expected, const SweepMeta& found,
                                                   bool across_shards = false);

}  // namespace headroom::record
