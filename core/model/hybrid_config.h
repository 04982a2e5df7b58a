// SPDX-License-Identifier: Apache-2.0
// What Qwen3-Next, Qwen3.5 and Qwen3.5-MoE share: gated full attention with norms on q and k and RoPE on a part of each
// head, linear layers between, and what stands beside the text model in their checkpoints.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/expert_plan.h"
#include "model/family.h"

namespace headroom::model {

struct HybridRules {
  std::string gguf;  ///< prefix of GGUF's keys
  std::string_view architecture;
  std::vector<std::string_view> model_types;  ///< of the text model, then of the checkpoint with vision around it
  bool experts = false;
  ExpertKeys expert_keys = {};
  bool always_normalised = false;  ///< the chosen experts' weights add up to 1, whatever the configuration says
  bool tiled_heads = false;  ///< GGUF holds value heads in turns (DeltaSpec::tiled_heads)
  bool fused = false;        ///< add_delta()
};
void read_hybrid(const checkpoint::Checkpoint& checkpoint, const HybridRules& rules, ModelConfig& config);
ModelPlan plan_hybrid(const checkpoint::Checkpoint& checkpoint, const ModelConfig& config, bool fused);

/// Vision, blocks that predict several tokens ahead, and what stands beside any model.
bool stands_beside_hybrid(const ModelConfig& config, std::string_view tensor);

}  // namespace headroom::model
