// SPDX-License-Identifier: Apache-2.0
// Llama and what is built like it without biases (SmolLM2, Llama 2 and 3; as GGUF files Mistral, too): full attention
// in every layer, or in those that the file does not give a sliding window.
#include <algorithm>

#include "checkpoint/metadata.h"
#include "model/family_config.h"
#include "model/family_plan.h"
#include "model/rope_config.h"

namespace headroom::model {
namespace {

using checkpoint::Checkpoint;
using checkpoint::ConfigReader;
using checkpoint::Format;
using checkpoint::in_quotes;

void read_llama_gguf(const Checkpoint& checkpoint, ModelConfig& config) {
  const ConfigReader reader(checkpoint, "llama.");
  LayerSpec layer;
  const std::int64_t num_layers = read_gguf_model(reader, config, layer);
  constexpr std::string_view layout = "tensor_data_layout", rotated = "Meta AI original pth";
  if (const std::string found = reader.string_or(layout, rotated); found != rotated)
    reader.refuse(layout, "this order of the rows of q and k is not known", in_quotes(rotated), in_quotes(found));
  layer.attention.window = reader.int_or("attention.sliding_window", 0, 0, max_context);
  reader.int_or("attention.sliding_window_pattern", 0, 0, 0);  // windows in some layers alone
  read_gguf_rope(reader, config, layer.attention);
  reader.refuse_unread({harmless_gguf_keys()});
  config.layers.assign(static_cast<std::size_t>(num_layers), layer);
}

void read_llama_config(const Checkpoint& checkpoint, ModelConfig& config) {
  ConfigReader reader(checkpoint);
  LayerSpec layer;
  const std::int64_t num_layers =
      read_config_model(reader, {.architecture = "LlamaForCausalLM", .model_types = {"llama"}}, config, layer);
  read_rope(reader, config, layer.attention);
  // transformers' Llama passes over a window: only one that changes nothing is what it computes.
  const std::int64_t window = reader.int_or("sliding_window", 0, 1, max_context);
  if (window > 0 && window < config.context_length)
    reader.refuse("sliding_window", "LlamaForCausalLM has no windows, and transformers passes over the key",
                  "null, or the architecture MistralForCausalLM", std::to_string(window));
  config.layers.assign(static_cast<std::size_t>(num_layers), layer);
  read_layer_types(reader, max_context, config);
  if (std::ranges::any_of(config.layers, [](const LayerSpec& spec) { return spec.attention.window > 0; }))
    reader.refuse("layer_types", "LlamaForCausalLM has no windows, and transformers passes over the key",
                  "full_attention alone, or the architecture MistralForCausalLM", "sliding_attention");
  reader.refuse_unread({harmless_config_keys()});
}

void read_llama(const Checkpoint& checkpoint, ModelConfig& config) {
  refuse_biases(checkpoint);
  checkpoint.format() == Format::gguf ? read_llama_gguf(checkpoint, config) : read_llama_config(checkpoint, config);
  name_kinds(config);
}

ModelPlan plan_llama(const Checkpoint& checkpoint, const ModelConfig& config) {
  return FamilyPlan(checkpoint, config, {.gguf_interleaves = true}).whole();
}

}  // namespace

Family entry_llama() {
  return {"llama", {"llama"}, {"LlamaForCausalLM"}, &read_llama, &plan_llama, &stands_beside_usual_plan};
}

}  // namespace headroom::model
