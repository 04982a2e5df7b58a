// SPDX-License-Identifier: Apache-2.0
// Llama and its relatives without biases (SmolLM2, Llama 2 and 3): tensor names of GGUF and of safetensors folders.
#include <cmath>
#include <numbers>

#include "base/error.h"
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

// GGUF brings Llama 3's scaling worked out, as a tensor.
std::vector<float> gguf_divisors(const Checkpoint& file, const ModelConfig& config) {
  constexpr const char* name = "rope_freqs.weight";
  const auto* info = file.find(name);
  if (!info) return {};
  const std::int64_t count = config.head_dim / 2;
  if (info->elements() != count) {
    throw input_error(file.path().string(), std::string("tensor ") + name + " has another size",
                      std::to_string(count) + " values", std::to_string(info->elements()));
  }
  std::vector<float> divisors(static_cast<std::size_t>(count));
  file.read_f32(name, divisors);
  for (const float divisor : divisors) {
    if (!(divisor > 0))
      throw input_error(file.path().string(), std::string("tensor ") + name, "values > 0", std::to_string(divisor));
  }
  return divisors;
}

// transformers keeps the recipe in config.json ("llama3": long wavelengths divided by `factor`, a ramp between).
std::vector<float> config_divisors(const Checkpoint& file, const ModelConfig& config) {
  auto kind = file.get_string("rope_scaling.rope_type");
  if (!kind) kind = file.get_string("rope_scaling.type");
  if (!kind || *kind == "default") return {};
  const auto number = [&](const char* key) {
    const auto value = file.get_float(key);
    if (!value || !(*value > 0)) throw input_error(file.path().string(), key, "a number > 0", "none");
    return *value;
  };
  const double factor = number("rope_scaling.factor");
  const auto count = static_cast<std::size_t>(config.head_dim / 2);
  if (*kind == "linear") return std::vector<float>(count, static_cast<float>(factor));
  if (*kind != "llama3")
    throw input_error(file.path().string(), "this RoPE scaling is not supported", "default, linear, llama3", *kind);
  const double low = number("rope_scaling.low_freq_factor"), high = number("rope_scaling.high_freq_factor");
  const double context = number("rope_scaling.original_max_position_embeddings");
  if (!(high > low))
    throw input_error(file.path().string(), "rope_scaling.high_freq_factor", "more than low_freq_factor", "less");
  std::vector<float> divisors(count);
  for (std::size_t i = 0; i < count; ++i) {
    const double frequency =
        std::pow(config.rope_base, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
    const double turns = context * frequency / (2 * std::numbers::pi);
    const double ramp = std::min(1.0, std::max(0.0, (turns - low) / (high - low)));
    divisors[i] = static_cast<float>(1 / (ramp + (1 - ramp) / factor));
  }
  return divisors;
}

ModelPlan plan(const Checkpoint& file, const ModelConfig& config) {
  const bool gguf = file.format() == checkpoint::Format::gguf;
  const Names& names = gguf ? gguf_names : safetensors_names;
  if (const auto rotated = gguf ? file.get_int(config.architecture + ".rope.dimension_count") : std::nullopt;
      rotated && *rotated != config.head_dim) {
    throw input_error(file.path().string(),
                      config.architecture + ".rope.dimension_count: partial RoPE is not supported",
                      std::to_string(config.head_dim), std::to_string(*rotated));
  }
  const std::int64_t q_rows = config.num_q_heads * config.head_dim, kv_rows = config.num_kv_heads * config.head_dim;
  const std::int64_t q_pairs = config.rope_adjacent_pairs ? config.num_q_heads : 0;
  const std::int64_t k_pairs = config.rope_adjacent_pairs ? config.num_kv_heads : 0;
  ModelPlan model;
  model.embedding = {{{names.embedding, config.vocabulary}}, config.width};
  model.output_norm = names.output_norm;
  if (!config.tied_output) model.output = {{{names.output, config.vocabulary}}, config.width};
  model.rope_divisors = gguf ? gguf_divisors(file, config) : config_divisors(file, config);
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
