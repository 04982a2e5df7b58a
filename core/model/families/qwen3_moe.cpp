// SPDX-License-Identifier: Apache-2.0
// Qwen3-MoE: Qwen3's attention, and experts in place of the MLP, in every layer or in those that the configuration
// names.
#include <algorithm>

#include "model/expert_plan.h"
#include "model/family_config.h"
#include "model/rope_config.h"

namespace headroom::model {
namespace {

using checkpoint::Checkpoint;
using checkpoint::ConfigReader;
using checkpoint::Format;

void read_qwen3_moe_gguf(const Checkpoint& checkpoint, ModelConfig& config) {
  const ConfigReader reader(checkpoint, "qwen3moe.");
  LayerSpec layer;
  const std::int64_t num_layers = read_gguf_core(reader, config, layer.attention);
  read_gguf_rope(reader, config, layer.attention);
  read_gguf_experts(reader, false, layer.mlp);
  layer.mlp.normalised = reader.bool_or("expert_weights_norm", true);
  reader.int_or("expert_shared_feed_forward_length", 0, 0, 0);
  reader.int_or("feed_forward_length", 0, 0, max_mlp);  // of layers without experts: there are none
  config.layers.assign(static_cast<std::size_t>(num_layers), layer);
  reader.refuse_unread({harmless_gguf_keys()});
}

void read_qwen3_moe_config(const Checkpoint& checkpoint, ModelConfig& config) {
  ConfigReader reader(checkpoint);
  LayerSpec layer;
  const std::int64_t num_layers = read_config_model(
      reader,
      {.architecture = "Qwen3MoeForCausalLM", .model_types = {"qwen3_moe"}, .absent = {.kv_heads = 4, .head_dim = 0}},
      config, layer);
  read_rope(reader, config, layer.attention);
  const MlpSpec dense = layer.mlp;
  read_config_experts(reader, {.absent_used = 8, .absent_count = 128, .absent_width = 768}, layer.mlp);
  layer.mlp.normalised = reader.bool_or("norm_topk_prob", false);
  config.layers.assign(static_cast<std::size_t>(num_layers), layer);
  const std::int64_t step = reader.int_or("decoder_sparse_step", 1, 1, max_layers);
  const std::vector<double> without = reader.numbers("mlp_only_layers").value_or(std::vector<double>());
  for (std::int64_t i = 0; i < num_layers; ++i) {
    if ((i + 1) % step != 0 || std::ranges::find(without, static_cast<double>(i)) != without.end())
      config.layers[static_cast<std::size_t>(i)].mlp = dense;
  }
  // The window holds for every layer, where it is switched on.
  const bool slides = reader.bool_or("use_sliding_window", false);
  const bool none = reader.checkpoint().holds(reader.key("sliding_window")) == checkpoint::Held::empty;
  const std::int64_t window = reader.int_or("sliding_window", none ? 0 : 4096, 1, max_context);
  reader.has("max_window_layers");  // read by nobody in this architecture
  for (LayerSpec& each : config.layers) each.attention.window = slides ? window : 0;
  reader.refuse_unread({harmless_config_keys()});
}

void read_qwen3_moe(const Checkpoint& checkpoint, ModelConfig& config) {
  refuse_biases(checkpoint);
  if (checkpoint.format() == Format::gguf)
    read_qwen3_moe_gguf(checkpoint, config);
  else
    read_qwen3_moe_config(checkpoint, config);
  for (LayerSpec& layer : config.layers) layer.attention.qk_norm = true;
  name_kinds(config);
}

ModelPlan plan_qwen3_moe(const Checkpoint& checkpoint, const ModelConfig& config) {
  const FamilyPlan names(checkpoint, config, {});
  ModelPlan plan;
  plan.ends = names.ends();
  for (std::int64_t i = 0; i < config.num_layers(); ++i) {
    TensorPlans& layer = plan.layers.emplace_back();
    names.add_norms(layer, i);
    names.add_attention(layer, i);
    if (config.layer(i).mlp.has_experts())
      add_experts(checkpoint, names, config, i, layer);
    else
      names.add_gated_mlp(layer, i);
  }
  return plan;
}

}  // namespace

Family entry_qwen3_moe() {
  return {"qwen3_moe",     {"qwen3moe"},    {"Qwen3MoeForCausalLM"},
          &read_qwen3_moe, &plan_qwen3_moe, &stands_beside_usual_plan};
}

}  // namespace headroom::model
