// SPDX-License-Identifier: Apache-2.0
#include "model/family_plan.h"

namespace headroom::model {

FamilyPlan::FamilyPlan(const checkpoint::Checkpoint& checkpoint, const ModelConfig& config, PlanRules rules)
    : config_(config), rules_(std::move(rules)), gguf_(checkpoint.format() == checkpoint::Format::gguf) {}

std::string FamilyPlan::layer_prefix(std::int64_t number) const {
  return (gguf_ ? "blk." : rules_.prefix + "layers.") + std::to_string(number) + ".";
}

TensorPlan FamilyPlan::vector(std::string tensor, std::int64_t places, bool is_norm) const {
  return {{{std::move(tensor), places}}, 0, is_norm && rules_.plus_one && !gguf_};
}

TensorPlans FamilyPlan::ends() const {
  TensorPlans plans;
  const std::string embedding = gguf_ ? "token_embd.weight" : rules_.prefix + "embed_tokens.weight";
  plans["embedding"] = {{{embedding, config_.vocabulary}}, config_.width};
  plans["output_norm"] = vector(gguf_ ? "output_norm.weight" : rules_.prefix + "norm.weight", config_.width, true);
  if (!config_.tied_output)
    plans["output"] = {{{gguf_ ? "output.weight" : rules_.output, config_.vocabulary}}, config_.width};
  return plans;
}

void FamilyPlan::add_norms(TensorPlans& layer, std::int64_t number) const {
  const std::string prefix = layer_prefix(number);
  const auto add = [&](const char* role, const char* in_gguf, const char* in_safetensors) {
    layer[role] = vector(prefix + (gguf_ ? in_gguf : in_safetensors), config_.width, true);
  };
  const bool after = config_.norm.after;  // transformers' names then say where each norm stands
  add("mixer_norm", "attn_norm.weight", "input_layernorm.weight");
  add("mlp_norm", "ffn_norm.weight", after ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight");
  if (!after) return;
  add("mixer_after_norm", "post_attention_norm.weight", "post_attention_layernorm.weight");
  add("mlp_after_norm", "post_ffw_norm.weight", "post_feedforward_layernorm.weight");
}

void FamilyPlan::add_attention(TensorPlans& layer, std::int64_t number) const {
  const AttentionSpec& attention = config_.layer(number).attention;
  const std::string prefix = layer_prefix(number);
  const auto name = [&](const char* in_gguf, const char* in_safetensors, const char* ending) {
    return prefix + (gguf_ ? in_gguf : in_safetensors) + ending;
  };
  const std::int64_t d = attention.head_dim, q_width = attention.num_q_heads * d;
  const std::int64_t q_rows = q_width * (attention.output_gate ? 2 : 1), kv_rows = attention.num_kv_heads * d;
  const auto pairs = [&](std::int64_t heads) { return gguf_ && rules_.gguf_interleaves ? heads : 0; };
  const auto qkv = [&](const char* ending) -> std::vector<RowBlock> {
    return {{name("attn_q", "self_attn.q_proj", ending), q_rows, pairs(attention.num_q_heads)},
            {name("attn_k", "self_attn.k_proj", ending), kv_rows, pairs(attention.num_kv_heads)},
            {name("attn_v", "self_attn.v_proj", ending), kv_rows}};
  };
  layer["qkv"] = {qkv(".weight"), config_.width};
  layer["attention_output"] = {{{name("attn_output", "self_attn.o_proj", ".weight"), config_.width}}, q_width};
  if (attention.qkv_bias) layer["qkv_bias"] = {.blocks = qkv(".bias"), .typical = 0};
  if (attention.output_bias)
    layer["attention_output_bias"] = vector(name("attn_output", "self_attn.o_proj", ".bias"), config_.width);
  if (attention.qk_norm) {
    layer["q_norm"] = vector(name("attn_q_norm", "self_attn.q_norm", ".weight"), d, true);
    layer["k_norm"] = vector(name("attn_k_norm", "self_attn.k_norm", ".weight"), d, true);
  }
  if (attention.sinks) layer["sinks"] = vector(name("attn_sinks.weight", "self_attn.sinks", ""), attention.num_q_heads);
}

void FamilyPlan::add_gated_mlp(TensorPlans& layer, std::int64_t number) const {
  const std::int64_t width = config_.layer(number).mlp.width;
  const std::string prefix = layer_prefix(number);
  const auto name = [&](const char* in_gguf, const char* in_safetensors) {
    return prefix + (gguf_ ? in_gguf : in_safetensors);
  };
  layer["gate_up"] = {
      {{name("ffn_gate.weight", "mlp.gate_proj.weight"), width}, {name("ffn_up.weight", "mlp.up_proj.weight"), width}},
      config_.width};
  layer["down"] = {{{name("ffn_down.weight", "mlp.down_proj.weight"), config_.width}}, width};
}

ModelPlan FamilyPlan::whole() const {
  ModelPlan plan;
  plan.ends = ends();
  for (std::int64_t i = 0; i < config_.num_layers(); ++i) {
    TensorPlans& layer = plan.layers.emplace_back();
    add_norms(layer, i);
    add_attention(layer, i);
    add_gated_mlp(layer, i);
  }
  return plan;
}

bool stands_beside_usual_plan(const ModelConfig& config, std::string_view tensor) {
  return tensor == "rope_freqs.weight" || tensor.ends_with(".attn_rot_embd.weight") ||
         tensor.ends_with(".rotary_emb.inv_freq") || (config.tied_output && tensor.ends_with("lm_head.weight"));
}

}  // namespace headroom::model
