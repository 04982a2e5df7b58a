// SPDX-License-Identifier: Apache-2.0
// What families with experts and with gated DeltaNet read alike, and plan alike, from either format.
#pragma once

#include <string>

#include "checkpoint/config_reader.h"
#include "model/family_plan.h"

namespace headroom::model {

inline constexpr std::int64_t max_experts = 4096;

/// Number and width of experts, how many are used, a shared one: of GGUF ("expert_count", …) or config.json
/// ("num_experts", …). Sets all of `mlp` but `normalised`.
struct ExpertKeys {
  const char* used = "num_experts_per_tok";
  std::int64_t absent_used = 0, absent_count = 0, absent_width = 0;  ///< of config.json, as transformers has them
  std::int64_t absent_shared_width = 0;                              ///< > 0: there is a shared expert
};
void read_config_experts(const checkpoint::ConfigReader& reader, const ExpertKeys& keys, MlpSpec& mlp);
void read_gguf_experts(const checkpoint::ConfigReader& reader, bool shared, MlpSpec& mlp);

/// "router", "experts_gate_up", "experts_down" and those of a shared expert: in safetensors expert by expert or as one
/// tensor of all, in GGUF gate and up apart or together.
void add_experts(const checkpoint::Checkpoint& checkpoint, const FamilyPlan& names, const ModelConfig& config,
                 std::int64_t number, TensorPlans& layer);

/// Keys of linear attention: "linear_…" of config.json, "ssm.…" of GGUF. Throws where they do not fit together.
void read_config_delta(const checkpoint::ConfigReader& reader, DeltaSpec& delta);
void read_gguf_delta(const checkpoint::ConfigReader& reader, DeltaSpec& delta);
/// Kinds of config.layers: "layer_types" ("full_attention", "linear_attention"), else each `interval`-th is full.
void read_config_hybrid(const checkpoint::ConfigReader& reader, ModelConfig& config);
void read_gguf_hybrid(const checkpoint::ConfigReader& reader, ModelConfig& config);

/// Weights of a linear layer. `fused`: as Qwen3-Next stores them in safetensors, "in_proj_qkvz" and "in_proj_ba" with
/// the rows of each key head together, and in GGUF "ssm_ba" the same way; else one tensor each.
void add_delta(const FamilyPlan& names, const ModelConfig& config, std::int64_t number, bool fused, TensorPlans& layer);

}  // namespace headroom::model
