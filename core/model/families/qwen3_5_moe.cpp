// SPDX-License-Identifier: Apache-2.0
// Qwen3.5 with experts in every layer and a shared one beside them.
#include "model/hybrid_config.h"

namespace headroom::model {
namespace {

void read_qwen3_5_moe(const checkpoint::Checkpoint& checkpoint, ModelConfig& config) {
  read_hybrid(checkpoint,
              {.gguf = "qwen35moe.",
               .architecture = "Qwen3_5MoeForCausalLM",
               .model_types = {"qwen3_5_moe_text", "qwen3_5_moe"},
               .experts = true,
               .expert_keys = {.absent_used = 8, .absent_count = 256, .absent_width = 512, .absent_shared_width = 512},
               .always_normalised = true,
               .tiled_heads = true},
              config);
}

ModelPlan plan_qwen3_5_moe(const checkpoint::Checkpoint& checkpoint, const ModelConfig& config) {
  return plan_hybrid(checkpoint, config, false);
}

}  // namespace

Family entry_qwen3_5_moe() {
  return {"qwen3_5_moe",     {"qwen35moe"},     {"Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration"},
          &read_qwen3_5_moe, &plan_qwen3_5_moe, &stands_beside_hybrid};
}

}  // namespace headroom::model
