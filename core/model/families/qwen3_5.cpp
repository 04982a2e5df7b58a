// SPDX-License-Identifier: Apache-2.0
// Qwen3.5, dense: three gated DeltaNet layers, then one of gated full attention; alone or as the text part of a
// checkpoint with vision.
#include "model/hybrid_config.h"

namespace headroom::model {
namespace {

void read_qwen3_5(const checkpoint::Checkpoint& checkpoint, ModelConfig& config) {
  read_hybrid(checkpoint,
              {.gguf = "qwen35.",
               .architecture = "Qwen3_5ForCausalLM",
               .model_types = {"qwen3_5_text", "qwen3_5"},
               .tiled_heads = true},
              config);
}

ModelPlan plan_qwen3_5(const checkpoint::Checkpoint& checkpoint, const ModelConfig& config) {
  return plan_hybrid(checkpoint, config, false);
}

}  // namespace

Family entry_qwen3_5() {
  return {"qwen3_5",     {"qwen35"},    {"Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration"},
          &read_qwen3_5, &plan_qwen3_5, &stands_beside_hybrid};
}

}  // namespace headroom::model
