// SPDX-License-Identifier: Apache-2.0
// Llama and its relatives without biases (SmolLM2, Llama 2 and 3): tensor names of GGUF and of safetensors folders.
#include "model/architecture.h"

namespace headroom::model {
namespace {

using checkpoint::Checkpoint;
using checkpoint::ModelConfig;

struct Names {
  const char *embedding, *output_norm, *output, *layer, *attention_norm, *q, *k, *v, *attention_output, *mlp_norm,
      *gate, *up, *down;
};
constexpr Names gguf_names = {"token_embd.weight",   "output_norm.weight", "output.weight",    "blk.",
                              ".attn_norm.weight",   ".attn_q.weight",     ".attn_k.weight",   ".attn_v.weight",
                              ".attn_output.weight", ".ffn_norm.weight",   ".ffn_gate.weight", ".ffn_up.weight",
                              ".ffn_down.weight"};
constexpr Names safetensors_names = {"model.embed_tokens.weight",
                                     "model.norm.weight",
                                     "lm_head.weight",
                                     "model.layers.",
                                     ".input_layernorm.weight",
                                     ".self_attn.q_proj.weight",
                                     ".self_attn.k_proj.weight",
                                     ".self_attn.v_proj.weight",
                                     ".self_attn.o_proj.weight",
                                     ".post_attention_layernorm.weight",
                                     ".mlp.gate_proj.weight",
                                     ".mlp.up_proj.weight",
                                     ".mlp.down_proj.weight"};

ModelPlan plan(const Checkpoint& file, const ModelConfig& config) {
  const Names& names = file.format() == checkpoint::Format::gguf ? gguf_names : safetensors_names;
  const std::int64_t q_rows = config.num_q_heads * config.head_dim, kv_rows = config.num_kv_heads * config.head_dim;
  const std::int64_t q_pairs = config.rope_adjacent_pairs ? config.num_q_heads : 0;
  const std::int64_t k_pairs = config.rope_adjacent_pairs ? config.num_kv_heads : 0;
  ModelPlan model;
  model.embedding = {{{names.embedding, config.vocabulary}}, config.width};
  model.output_norm = names.output_norm;
  if (!config.tied_output) model.output = {{{names.output, config.vocabulary}}, config.width};
  model.rope_divisors.assign(config.rope_factors.begin(), config.rope_factors.end());
  for (std::int64_t i = 0; i < config.num_layers; ++i) {
    const std::string layer = names.layer + std::to_string(i);
    model.layers.push_back({
        .attention_norm = layer + names.attention_norm,
        .qkv = {{{layer + names.q, q_rows, q_pairs}, {layer + names.k, kv_rows, k_pairs}, {layer + names.v, kv_rows}},
                config.width},
        .attention_output = {{{layer + names.attention_output, config.width}}, q_rows},
        .mlp_norm = layer + names.mlp_norm,
        .gate_up = {{{layer + names.gate, config.mlp_width}, {layer + names.up, config.mlp_width}}, config.width},
        .down = {{{layer + names.down, config.width}}, config.mlp_width},
    });
  }
  return model;
}

}  // namespace

Architecture arch_llama() {
  return {"llama", &plan};
}

}  // namespace headroom::model
