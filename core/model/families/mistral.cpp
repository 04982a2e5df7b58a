// SPDX-License-Identifier: Apache-2.0
// Mistral and Ministral as safetensors (GGUF files of them call themselves llama): Llama with a sliding window, in
// every layer of Mistral, in those that "layer_types" names of Ministral.
#include <algorithm>

#include "model/family_config.h"
#include "model/family_plan.h"
#include "model/rope_config.h"

namespace headroom::model {
namespace {

using checkpoint::Checkpoint;
using checkpoint::ConfigReader;
using checkpoint::Held;

void read_mistral(const Checkpoint& checkpoint, ModelConfig& config) {
  refuse_biases(checkpoint);
  const auto names = checkpoint.get_strings("architectures");
  const bool mixed = names && std::ranges::find(*names, "MinistralForCausalLM") != names->end();
  ConfigReader reader(checkpoint);
  LayerSpec layer;
  const std::int64_t num_layers =
      read_config_model(reader,
                        {.architecture = mixed ? "MinistralForCausalLM" : "MistralForCausalLM",
                         .model_types = {mixed ? "ministral" : "mistral"},
                         .absent = {.kv_heads = 8}},
                        config, layer);
  read_rope(reader, config, layer.attention);
  // null: no window; no such key: the window that transformers then takes.
  const bool none = checkpoint.holds("sliding_window") == Held::empty;
  const std::int64_t window = reader.int_or("sliding_window", none ? 0 : 4096, 1, max_context);
  layer.attention.window = window;
  config.layers.assign(static_cast<std::size_t>(num_layers), layer);
  if (mixed) read_layer_types(reader, window, config);
  reader.refuse_unread({harmless_config_keys()});
  name_kinds(config);
}

ModelPlan plan_mistral(const Checkpoint& checkpoint, const ModelConfig& config) {
  return FamilyPlan(checkpoint, config, {}).whole();
}

}  // namespace

Family entry_mistral() {
  return {"mistral",
          {},
          {"MistralForCausalLM", "MinistralForCausalLM"},
          &read_mistral,
          &plan_mistral,
          &stands_beside_usual_plan};
}

}  // namespace headroom::model
