// SPDX-License-Identifier: Apache-2.0
// Qwen2 and Qwen2.5: Llama with biases on q, k and v, RoPE by halves in GGUF too, and windows in the upper layers where
// the configuration switches them on.
#include "model/family_config.h"
#include "model/family_plan.h"
#include "model/qwen_config.h"

namespace headroom::model {
namespace {

void read_qwen2(const checkpoint::Checkpoint& checkpoint, ModelConfig& config) {
  read_qwen(checkpoint, {.gguf = "qwen2.", .architecture = "Qwen2ForCausalLM", .model_type = "qwen2"}, config);
  for (LayerSpec& layer : config.layers) layer.attention.qkv_bias = true;
}

ModelPlan plan_qwen2(const checkpoint::Checkpoint& checkpoint, const ModelConfig& config) {
  return FamilyPlan(checkpoint, config, {}).whole();
}

}  // namespace

Family entry_qwen2() {
  return {"qwen2", {"qwen2"}, {"Qwen2ForCausalLM"}, &read_qwen2, &plan_qwen2, &stands_beside_usual_plan};
}

}  // namespace headroom::model
