// SPDX-License-Identifier: Apache-2.0
// `headroom distill`: trains the indexer of every full layer on a frozen backbone (METHOD.md, "Indexer").
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/progress.h"
#include "experiment/distil/figures.h"

namespace headroom::experiment {

struct DistillSpec {
  std::string model;               ///< path or short name
  std::optional<std::string> adapter = {};  ///< folder or file of a LoRA adapter to merge into it
  std::string out;                 ///< FILE.safetensors; the training state lies beside it as FILE.safetensors.state
  std::vector<std::string> texts;  ///< files and folders; empty: needle prompts alone
  std::int64_t steps = 900;
  std::int64_t length = 4096;  ///< tokens of a training sequence
  std::int64_t index_dim = 128;
  double learning_rate = 1e-3;  ///< peak; cosine to a hundredth after `warmup` steps
  std::int64_t warmup = 50;
  double row_fraction = 0.25;                             ///< of the rows after the first quarter
  std::int64_t eval_every = 100;                          ///< steps between held-out figures, which are also the saves
  std::int64_t held_out = 4;                              ///< held-out sequences: text and needle prompts in turn
  std::vector<std::int64_t> recall_budgets = {512, 128};  ///< k of held-out figures; half the length at most
  std::uint64_t seed = 1;
  std::string device = "auto";
  std::string dtype = "auto";
  bool resume = false;
};

nlohmann::json to_json(const DistillSpec& spec);
/// Throws usage errors that name the field; unknown fields are refused.
DistillSpec distill_spec_from_json(const nlohmann::json& json);

struct DistillCallbacks {
  std::function<void(const DistillFigures&)> evaluated;
  std::function<void(const std::string&)> notice;  ///< what a user should know, in a sentence
  /// Where the indexer was saved: spec.out, or beside it where another program wrote there meanwhile.
  std::function<void(const std::filesystem::path&)> saved;
};

/// Writes spec.out and returns its held-out figures. Cancelled: what was trained is saved with its state, so `resume`
/// goes on from there, then the error is thrown; resumed on other text: refused, since what is held out must not have
/// been trained on. Progress phases: "step 120/900 · KL 0.410 · held-out recall 0.660".
DistillFigures distill(const DistillSpec& spec, const JobContext& job, const DistillCallbacks& callbacks = {});

}  // namespace headroom::experiment
