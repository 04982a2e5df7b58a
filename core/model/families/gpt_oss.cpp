// SPDX-License-Identifier: Apache-2.0
// gpt-oss: every second layer slides, a learned sink logit a head takes its share of the attention, YaRN, biases on q,
// k, v and the output, experts with a clamped SwiGLU. As transformers saves it (experts in MXFP4 or as plain numbers)
// and as GGUF, where RoPE follows the model's own configuration: YaRN's bounds are not rounded.
#include "model/expert_plan.h"
#include "model/family_config.h"
#include "model/rope_config.h"

namespace headroom::model {
namespace {

using checkpoint::Checkpoint;
using checkpoint::ConfigReader;
using checkpoint::Format;

constexpr double swiglu_alpha = 1.702, swiglu_limit = 7;  // of both published models, and all that GGUF knows

std::vector<LayerSpec> layers_of(std::int64_t count, LayerSpec layer) {
  layer.attention.qkv_bias = layer.attention.output_bias = layer.attention.sinks = true;
  layer.mlp.kind = MlpKind::clamped_experts;
  return std::vector<LayerSpec>(static_cast<std::size_t>(count), layer);
}

void read_gpt_oss_gguf(const Checkpoint& checkpoint, ModelConfig& config) {
  const ConfigReader reader(checkpoint, "gpt-oss.");
  LayerSpec layer;
  const std::int64_t num_layers = read_gguf_core(reader, config, layer.attention);
  read_gguf_rope(reader, config, layer.attention, false);
  read_gguf_experts(reader, false, layer.mlp);
  reader.int_or("feed_forward_length", layer.mlp.width, layer.mlp.width, layer.mlp.width);
  layer.mlp.alpha = swiglu_alpha;
  layer.mlp.limit = swiglu_limit;
  config.layers = layers_of(num_layers, layer);
  reader.require_int("attention.sliding_window", 1, max_context);  // without it every layer would be full
  read_gguf_windows(reader, 2, config);
  reader.refuse_unread({harmless_gguf_keys()});
}

void read_gpt_oss_config(const Checkpoint& checkpoint, ModelConfig& config) {
  ConfigReader reader(checkpoint);
  LayerSpec layer;
  allow_empty_config_keys(reader);
  check_model_type(reader, "GptOssForCausalLM", {"gpt_oss"});
  const std::int64_t num_layers = read_sizes(reader, config_sizes, config, {.context = 131072});
  read_heads(reader, config_sizes, config.width, layer.attention, {.kv_heads = 8, .head_dim = 64});
  config.norm.epsilon = reader.float_or("rms_norm_eps", 1e-5, 0, 1);
  refuse_config_options(reader);
  reader.must_be("attention_bias", true, "attention without biases is not supported in this architecture");
  must_be_text(reader, "hidden_act", "silu", "this activation is not supported");
  read_vocabulary(reader, "model.embed_tokens.weight", config_sizes.vocabulary, config);
  read_tied_output(reader, "model.embed_tokens.weight", "lm_head.weight", false, config);
  if (!reader.has("rope_parameters.rope_type") && !reader.has("rope_scaling.rope_type") &&
      !reader.has("rope_scaling.type"))
    reader.refuse("rope_scaling.rope_type", "the key is missing", "RoPE's scaling, which this architecture has",
                  "nothing");
  read_rope(reader, config, layer.attention, {.absent_base = 150000});
  // The context before YaRN, which "rope_scaling" says again.
  reader.int_or("initial_context_length", 4096, 1, max_context);
  layer.mlp.experts = reader.require_int("num_local_experts", 1, max_experts);
  layer.mlp.experts_used = reader.int_or("num_experts_per_tok", 4, 1, layer.mlp.experts);
  // An older name of the same.
  reader.int_or("experts_per_token", layer.mlp.experts_used, layer.mlp.experts_used, layer.mlp.experts_used);
  layer.mlp.width = reader.require_int(config_sizes.mlp, 1, max_mlp);
  layer.mlp.alpha = reader.float_or("swiglu_alpha", swiglu_alpha, 0, 1e3);
  layer.mlp.limit = reader.float_or("swiglu_limit", swiglu_limit, 1e-3, 1e6);
  if (reader.checkpoint().holds(reader.key("sliding_window")) == checkpoint::Held::empty)
    reader.refuse("sliding_window", "every other layer has a window", "a number", "nothing");
  const std::int64_t window = reader.int_or("sliding_window", 128, 1, max_context);
  config.layers = layers_of(num_layers, layer);
  if (!read_layer_types(reader, window, config)) {
    for (std::size_t i = 0; i < config.layers.size(); i += 2) config.layers[i].attention.window = window;
  }
  constexpr std::string_view harmless[] = {"output_router_logits", "router_aux_loss_coef"};
  reader.refuse_unread({harmless_config_keys(), harmless});
}

void read_gpt_oss(const Checkpoint& checkpoint, ModelConfig& config) {
  if (checkpoint.format() == Format::gguf)
    read_gpt_oss_gguf(checkpoint, config);
  else
    read_gpt_oss_config(checkpoint, config);
  name_kinds(config);
}

// GGUF keeps gate and up apart; in safetensors their rows take turns, in MXFP4 as rows, as plain numbers as columns.
void add_clamped_experts(const Checkpoint& checkpoint, const FamilyPlan& names, const ModelConfig& config,
                         std::int64_t number, TensorPlans& layer) {
  const MlpSpec& mlp = config.layer(number).mlp;
  const std::string prefix = names.layer_prefix(number);
  const std::int64_t width = config.width, experts = mlp.experts, rows = mlp.width;
  TensorPlan gate_up{{}, width}, gate_up_bias{.blocks = {}, .typical = 0}, down{{}, rows};
  TensorPlan down_bias{.blocks = {}, .typical = 0};
  if (names.gguf()) {
    layer["router"] = {{{prefix + "ffn_gate_inp.weight", experts}}, width};
    layer["router_bias"] = {.blocks = {{prefix + "ffn_gate_inp.bias", experts}}, .typical = 0};
    for (std::int64_t expert = 0; expert < experts; ++expert) {
      for (const char* part : {"ffn_gate_exps", "ffn_up_exps"}) {
        gate_up.blocks.push_back({.tensor = prefix + part + ".weight",
                                  .rows = rows,
                                  .shape = {experts, rows, width},
                                  .first = expert * rows});
        gate_up_bias.blocks.push_back(
            {.tensor = prefix + part + ".bias", .rows = rows, .shape = {experts, rows}, .first = expert * rows});
      }
    }
    down.blocks = {
        {.tensor = prefix + "ffn_down_exps.weight", .rows = experts * width, .shape = {experts, width, rows}}};
    down_bias.blocks = {{.tensor = prefix + "ffn_down_exps.bias", .rows = experts * width, .shape = {experts, width}}};
  } else {
    const std::string own = prefix + "mlp.";
    layer["router"] = {{{own + "router.weight", experts}}, width};
    layer["router_bias"] = {.blocks = {{own + "router.bias", experts}}, .typical = 0};
    const auto matrices = [&](const std::string& name, std::int64_t each, std::int64_t columns, std::int64_t pairs) {
      const bool packed = checkpoint.find(name + "_blocks") != nullptr;
      RowBlock block{.tensor = packed ? name + "_blocks" : name, .rows = experts * each, .interleaved_heads = pairs};
      block.shape = packed ? std::vector{experts, each, columns} : std::vector{experts, columns, each};
      block.transposed = !packed;
      return std::vector{block};
    };
    gate_up.blocks = matrices(own + "experts.gate_up_proj", 2 * rows, width, experts);
    down.blocks = matrices(own + "experts.down_proj", width, rows, 0);
    gate_up_bias.blocks = {{.tensor = own + "experts.gate_up_proj_bias",
                            .rows = experts * 2 * rows,
                            .interleaved_heads = experts,
                            .shape = {experts, 2 * rows}}};
    down_bias.blocks = {{.tensor = own + "experts.down_proj_bias", .rows = experts * width, .shape = {experts, width}}};
  }
  layer["experts_gate_up"] = std::move(gate_up);
  layer["experts_gate_up_bias"] = std::move(gate_up_bias);
  layer["experts_down"] = std::move(down);
  layer["experts_down_bias"] = std::move(down_bias);
}

ModelPlan plan_gpt_oss(const Checkpoint& checkpoint, const ModelConfig& config) {
  const FamilyPlan names(checkpoint, config, {});
  ModelPlan plan;
  plan.ends = names.ends();
  for (std::int64_t i = 0; i < config.num_layers(); ++i) {
    TensorPlans& layer = plan.layers.emplace_back();
    names.add_norms(layer, i);
    if (names.gguf())
      layer["mlp_norm"] = names.vector(names.layer_prefix(i) + "post_attention_norm.weight", config.width);
    names.add_attention(layer, i);
    add_clamped_experts(checkpoint, names, config, i, layer);
  }
  return plan;
}

}  // namespace

Family entry_gpt_oss() {
  return {"gpt_oss", {"gpt-oss"}, {"GptOssForCausalLM"}, &read_gpt_oss, &plan_gpt_oss, &stands_beside_usual_plan};
}

}  // namespace headroom::model
