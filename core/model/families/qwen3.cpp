// SPDX-License-Identifier: Apache-2.0
// Qwen3: no biases, RMS norms on each head of q and k before RoPE, heads as wide as the configuration says.
#include "model/family_config.h"
#include "model/family_plan.h"
#include "model/qwen_config.h"

namespace headroom::model {
namespace {

void read_qwen3(const checkpoint::Checkpoint& checkpoint, ModelConfig& config) {
  refuse_biases(checkpoint);
  read_qwen(checkpoint,
            {.gguf = "qwen3.", .architecture = "Qwen3ForCausalLM", .model_type = "qwen3", .absent_head_dim = 128},
            config);
  for (LayerSpec& layer : config.layers) layer.attention.qk_norm = true;
}

ModelPlan plan_qwen3(const checkpoint::Checkpoint& checkpoint, const ModelConfig& config) {
  return FamilyPlan(checkpoint, config, {}).whole();
}

}  // namespace

Family entry_qwen3() {
  return {"qwen3", {"qwen3"}, {"Qwen3ForCausalLM"}, &read_qwen3, &plan_qwen3, &stands_beside_usual_plan};
}

}  // namespace headroom::model
