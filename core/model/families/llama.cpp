// SPDX-License-Identifier: Apache-2.0
// Llama and what is built like it without biases (SmolLM2, Llama 2 and 3, Mistral): full attention in every layer, or
// in those that the file does not give a sliding window.
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "checkpoint/config_reader.h"
#include "checkpoint/metadata.h"
#include "model/family.h"

namespace headroom::model {
namespace {

using checkpoint::Checkpoint;
using checkpoint::ConfigReader;
using checkpoint::Format;
using checkpoint::in_quotes;
using checkpoint::TensorInfo;

constexpr std::int64_t max_layers = 1024, max_width = 1 << 17, max_heads = 1024, max_head_dim = 1024;
constexpr std::int64_t max_mlp = 1 << 20, max_vocabulary = 1 << 22, max_context = 1 << 24;

void check_shape(const ConfigReader& reader, std::string_view heads_key, std::string_view dim_key,
                 const AttentionSpec& attention) {
  if (attention.num_q_heads % attention.num_kv_heads != 0) {
    reader.refuse(heads_key, "the query heads do not divide among the KV heads",
                  "a divisor of " + std::to_string(attention.num_q_heads), std::to_string(attention.num_kv_heads));
  }
  if (attention.head_dim % 2 != 0)
    reader.refuse(dim_key, "the head dimension is odd", "an even number", std::to_string(attention.head_dim));
}

std::int64_t default_head_dim(const ConfigReader& reader, std::string_view key, std::int64_t width,
                              std::int64_t num_q_heads) {
  if (width % num_q_heads != 0) {
    reader.refuse(key, "the width does not divide among the query heads", "a divisor of " + std::to_string(width),
                  std::to_string(num_q_heads));
  }
  return width / num_q_heads;
}

void read_vocabulary(const ConfigReader& reader, std::string_view embedding, std::string_view key,
                     ModelConfig& config) {
  const TensorInfo& info = reader.require_tensor(embedding, 2);
  config.vocabulary = reader.int_or(key, info.shape[0], 1, max_vocabulary);
  if (info.shape[0] != config.vocabulary || info.shape[0] > max_vocabulary) {
    reader.refuse(key, "the vocabulary does not fit the embedding",
                  std::to_string(info.shape[0]) + " rows of " + in_quotes(embedding),
                  std::to_string(config.vocabulary));
  }
}

void read_gguf(const Checkpoint& checkpoint, ModelConfig& config) {
  const ConfigReader reader(checkpoint);
  const std::int64_t num_layers = reader.require_int("llama.block_count", 1, max_layers);
  config.width = reader.require_int("llama.embedding_length", 1, max_width);
  LayerSpec layer;
  AttentionSpec& attention = layer.attention;
  layer.mlp.width = reader.require_int("llama.feed_forward_length", 1, max_mlp);
  config.context_length = reader.require_int("llama.context_length", 1, max_context);
  attention.num_q_heads = reader.require_int("llama.attention.head_count", 1, max_heads);
  attention.num_kv_heads = reader.int_or("llama.attention.head_count_kv", attention.num_q_heads, 1, max_heads);
  attention.head_dim =
      checkpoint.get_int("llama.attention.key_length")
          ? reader.require_int("llama.attention.key_length", 2, max_head_dim)
          : default_head_dim(reader, "llama.attention.head_count", config.width, attention.num_q_heads);
  check_shape(reader, "llama.attention.head_count_kv", "llama.attention.key_length", attention);
  const std::int64_t d = attention.head_dim;
  reader.int_or("llama.attention.value_length", d, d, d);
  reader.int_or("llama.rope.dimension_count", d, d, d);
  reader.int_or("llama.expert_count", 0, 0, 0);  // mixtures of experts carry the same name
  config.norm.epsilon = reader.require_float("llama.attention.layer_norm_rms_epsilon", 0, 1);
  attention.rope.base = reader.float_or("llama.rope.freq_base", 10000, 1, 1e12);
  config.tied_output = checkpoint.find("output.weight") == nullptr;
  read_vocabulary(reader, "token_embd.weight", "llama.vocab_size", config);
  attention.window = reader.int_or("llama.attention.sliding_window", 0, 0, max_context);
  reader.int_or("llama.attention.sliding_window_pattern", 0, 0, 0);  // windows in some layers alone

  const auto half = static_cast<std::size_t>(d / 2);
  const std::string scaling = reader.string_or("llama.rope.scaling.type", "none");
  if (scaling == "linear") {
    attention.rope.factors.assign(half, reader.require_float("llama.rope.scaling.factor", 1e-3, 1e6));
  } else if (scaling != "none") {
    reader.refuse("llama.rope.scaling.type", "this RoPE scaling is not supported", "none or linear",
                  in_quotes(scaling));
  }
  if (checkpoint.find("rope_freqs.weight")) {  // Llama-3 scaling
    const TensorInfo& info = reader.require_tensor("rope_freqs.weight", 1);
    if (info.shape[0] != d / 2) {
      reader.refuse("rope_freqs.weight", "the tensor has the wrong size", std::to_string(half),
                    std::to_string(info.shape[0]));
    }
    std::vector<float> factors(half);
    checkpoint.read_f32("rope_freqs.weight", factors);
    attention.rope.factors.assign(factors.begin(), factors.end());
    for (const double factor : attention.rope.factors)
      if (!(factor > 0)) reader.refuse("rope_freqs.weight", "a factor is not positive", "> 0", std::to_string(factor));
  }
  config.layers.assign(static_cast<std::size_t>(num_layers), layer);
}

/// The factors of transformers' "llama3" scaling: long wavelengths are stretched, short ones kept, those between mixed.
std::vector<double> llama3_factors(const ConfigReader& reader, const std::string& prefix,
                                   const AttentionSpec& attention) {
  const double factor = reader.require_float(prefix + "factor", 1e-3, 1e6);
  const double low = reader.require_float(prefix + "low_freq_factor", 1e-6, 1e6);
  const double high = reader.require_float(prefix + "high_freq_factor", 1e-6, 1e6);
  const double original = reader.require_float(prefix + "original_max_position_embeddings", 1, max_context);
  if (!(high > low)) {
    reader.refuse(prefix + "high_freq_factor", "the value is out of range", "more than " + std::to_string(low),
                  std::to_string(high));
  }
  std::vector<double> factors;
  for (std::int64_t i = 0; i < attention.head_dim / 2; ++i) {
    const double frequency =
        std::pow(attention.rope.base, -2.0 * static_cast<double>(i) / static_cast<double>(attention.head_dim));
    const double wavelength = 2 * std::numbers::pi / frequency;
    const double smooth = (original / wavelength - low) / (high - low);
    if (wavelength > original / low)
      factors.push_back(factor);
    else if (wavelength < original / high)
      factors.push_back(1);
    else
      factors.push_back(1 / ((1 - smooth) / factor + smooth));
  }
  return factors;
}

void read_scaling(const Checkpoint& checkpoint, const ConfigReader& reader, const std::string& prefix,
                  AttentionSpec& attention) {
  const std::string key = prefix + (checkpoint.get_string(prefix + "rope_type") ? "rope_type" : "type");
  const std::string type = reader.string_or(key, "default");
  if (type == "linear") {
    attention.rope.factors.assign(static_cast<std::size_t>(attention.head_dim / 2),
                                  reader.require_float(prefix + "factor", 1e-3, 1e6));
  } else if (type == "llama3") {
    attention.rope.factors = llama3_factors(reader, prefix, attention);
  } else if (type != "default") {
    reader.refuse(key, "this RoPE scaling is not supported", "default, linear or llama3", in_quotes(type));
  }
}

// Mistral's "sliding_window" holds for every layer; where "layer_types" lists the layers, for those it names.
void read_windows(const Checkpoint& checkpoint, const ConfigReader& reader, ModelConfig& config) {
  const std::int64_t window = reader.int_or("sliding_window", 0, 1, max_context);
  const auto types = checkpoint.get_strings("layer_types");
  if (!types) {
    for (LayerSpec& layer : config.layers) layer.attention.window = window;
    return;
  }
  if (types->size() != config.layers.size())
    reader.refuse("layer_types", "the list does not fit the layers", std::to_string(config.layers.size()) + " entries",
                  std::to_string(types->size()));
  for (std::size_t i = 0; i < types->size(); ++i) {
    const std::string& type = (*types)[i];
    if (type == "full_attention") continue;
    if (type != "sliding_attention")
      reader.refuse("layer_types", "this kind of layer is not supported", "full_attention or sliding_attention",
                    in_quotes(type));
    if (window == 0)
      reader.refuse("sliding_window", "the key is missing", "the window of layer " + std::to_string(i), "nothing");
    config.layers[i].attention.window = window;
  }
}

void read_safetensors(const Checkpoint& checkpoint, ModelConfig& config) {
  const ConfigReader reader(checkpoint);
  const std::int64_t num_layers = reader.require_int("num_hidden_layers", 1, max_layers);
  config.width = reader.require_int("hidden_size", 1, max_width);
  LayerSpec layer;
  AttentionSpec& attention = layer.attention;
  layer.mlp.width = reader.require_int("intermediate_size", 1, max_mlp);
  config.context_length = reader.require_int("max_position_embeddings", 1, max_context);
  attention.num_q_heads = reader.require_int("num_attention_heads", 1, max_heads);
  attention.num_kv_heads = reader.int_or("num_key_value_heads", attention.num_q_heads, 1, max_heads);
  attention.head_dim = checkpoint.get_int("head_dim")
                           ? reader.require_int("head_dim", 2, max_head_dim)
                           : default_head_dim(reader, "num_attention_heads", config.width, attention.num_q_heads);
  check_shape(reader, "num_key_value_heads", "head_dim", attention);
  config.norm.epsilon = reader.float_or("rms_norm_eps", 1e-6, 0, 1);
  reader.must_not_be_set("attention_bias", "biases in attention are not supported");
  reader.must_not_be_set("mlp_bias", "biases in the MLP are not supported");
  if (const std::string activation = reader.string_or("hidden_act", "silu"); activation != "silu")
    reader.refuse("hidden_act", "this activation is not supported", "silu", in_quotes(activation));
  // transformers 5 keeps base and scaling together; before, they were apart.
  attention.rope.base = checkpoint.get_float("rope_parameters.rope_theta")
                            ? reader.require_float("rope_parameters.rope_theta", 1, 1e12)
                            : reader.float_or("rope_theta", 10000, 1, 1e12);
  read_scaling(checkpoint, reader, "rope_scaling.", attention);
  read_scaling(checkpoint, reader, "rope_parameters.", attention);
  config.tied_output = checkpoint.get_bool("tie_word_embeddings").value_or(false);
  read_vocabulary(reader, "model.embed_tokens.weight", "vocab_size", config);
  config.layers.assign(static_cast<std::size_t>(num_layers), layer);
  read_windows(checkpoint, reader, config);
}

void refuse_biases(const Checkpoint& checkpoint) {
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    if (tensor.name.ends_with(".bias")) {
      throw input_error(checkpoint.path().string() + ": tensor " + in_quotes(tensor.name),
                        "biases are not supported in this architecture", "no tensor of that name", "one");
    }
  }
}

void read(const Checkpoint& checkpoint, ModelConfig& config) {
  refuse_biases(checkpoint);
  checkpoint.format() == Format::gguf ? read_gguf(checkpoint, config) : read_safetensors(checkpoint, config);
  for (LayerSpec& layer : config.layers) {
    layer.kind = layer.attention.window > 0 ? LayerKind::sliding : LayerKind::full;
    layer.attention.scale = 1.0 / std::sqrt(static_cast<double>(layer.attention.head_dim));
    layer.attention.rope.dims = layer.attention.head_dim;
  }
}

struct Names {
  const char *embedding, *output_norm, *output, *layer, *mixer_norm, *q, *k, *v, *attention_output, *mlp_norm, *gate,
      *up, *down;
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

ModelPlan plan(const Checkpoint& checkpoint, const ModelConfig& config) {
  // GGUF stores q and k rows for rotation of adjacent pairs.
  const bool gguf = checkpoint.format() == Format::gguf;
  const Names& names = gguf ? gguf_names : safetensors_names;
  const std::int64_t width = config.width;
  ModelPlan model;
  model.ends["embedding"] = {{{names.embedding, config.vocabulary}}, width};
  model.ends["output_norm"] = {{{names.output_norm, width}}};
  if (!config.tied_output) model.ends["output"] = {{{names.output, config.vocabulary}}, width};
  for (std::int64_t i = 0; i < config.num_layers(); ++i) {
    const auto& [kind, attention, mlp] = config.layer(i);
    const std::string layer = names.layer + std::to_string(i);
    const std::int64_t q_rows = attention.num_q_heads * attention.head_dim;
    const std::int64_t kv_rows = attention.num_kv_heads * attention.head_dim;
    model.layers.push_back({
        {"mixer_norm", {{{layer + names.mixer_norm, width}}}},
        {"qkv",
         {{{layer + names.q, q_rows, gguf ? attention.num_q_heads : 0},
           {layer + names.k, kv_rows, gguf ? attention.num_kv_heads : 0},
           {layer + names.v, kv_rows}},
          width}},
        {"attention_output", {{{layer + names.attention_output, width}}, q_rows}},
        {"mlp_norm", {{{layer + names.mlp_norm, width}}}},
        {"gate_up", {{{layer + names.gate, mlp.width}, {layer + names.up, mlp.width}}, width}},
        {"down", {{{layer + names.down, width}}, mlp.width}},
    });
  }
  return model;
}

}  // namespace

Family entry_llama() {
  return {"llama", "LlamaForCausalLM", &read, &plan};
}

}  // namespace headroom::model
