// SPDX-License-Identifier: Apache-2.0
// Qwen3-Next: as Qwen3.5 with experts, its projections of linear layers stored together, key head by key head.
#include "model/hybrid_config.h"

namespace headroom::model {
namespace {

void read_qwen3_next(const checkpoint::Checkpoint& checkpoint, ModelConfig& config) {
  read_hybrid(checkpoint,
              {.gguf = "qwen3next.",
               .architecture = "Qwen3NextForCausalLM",
               .model_types = {"qwen3_next"},
               .experts = true,
               .expert_keys = {.absent_used = 10, .absent_count = 512, .absent_width = 512, .absent_shared_width = 512},
               .fused = true},
              config);
}

ModelPlan plan_qwen3_next(const checkpoint::Checkpoint& checkpoint, const ModelConfig& config) {
  return plan_hybrid(checkpoint, config, true);
}

}  // namespace

Family entry_qwen3_next() {
  return {"qwen3_next",     {"qwen3next"},    {"Qwen3NextForCausalLM"},
          &read_qwen3_next, &plan_qwen3_next, &stands_beside_hybrid};
}

}  // namespace headroom::model
