// SPDX-License-Identifier: Apache-2.0
// Llama and what is built like it (SmolLM2, Llama 2 and 3, Mistral without window): full attention in every layer.
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "checkpoint/architecture.h"
#include "checkpoint/metadata.h"

namespace headroom::checkpoint {
namespace {

constexpr std::int64_t max_layers = 1024, max_width = 1 << 17, max_heads = 1024, max_head_dim = 1024;
constexpr std::int64_t max_mlp = 1 << 20, max_vocabulary = 1 << 22, max_context = 1 << 24;

void check_shape(const ConfigReader& reader, std::string_view heads_key, std::string_view dim_key,
                 const ModelConfig& config) {
  if (config.num_q_heads % config.num_kv_heads != 0) {
    reader.refuse(heads_key, "the query heads do not divide among the KV heads",
                  "a divisor of " + std::to_string(config.num_q_heads), std::to_string(config.num_kv_heads));
  }
  if (config.head_dim % 2 != 0)
    reader.refuse(dim_key, "the head dimension is odd", "an even number", std::to_string(config.head_dim));
}

std::int64_t default_head_dim(const ConfigReader& reader, std::string_view key, const ModelConfig& config) {
  if (config.width % config.num_q_heads != 0) {
    reader.refuse(key, "the width does not divide among the query heads",
                  "a divisor of " + std::to_string(config.width), std::to_string(config.num_q_heads));
  }
  return config.width / config.num_q_heads;
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
  config.num_layers = reader.require_int("llama.block_count", 1, max_layers);
  config.width = reader.require_int("llama.embedding_length", 1, max_width);
  config.mlp_width = reader.require_int("llama.feed_forward_length", 1, max_mlp);
  config.context_length = reader.require_int("llama.context_length", 1, max_context);
  config.num_q_heads = reader.require_int("llama.attention.head_count", 1, max_heads);
  config.num_kv_heads = reader.int_or("llama.attention.head_count_kv", config.num_q_heads, 1, max_heads);
  config.head_dim = checkpoint.get_int("llama.attention.key_length")
                        ? reader.require_int("llama.attention.key_length", 2, max_head_dim)
                        : default_head_dim(reader, "llama.attention.head_count", config);
  check_shape(reader, "llama.attention.head_count_kv", "llama.attention.key_length", config);
  reader.int_or("llama.attention.value_length", config.head_dim, config.head_dim, config.head_dim);
  reader.int_or("llama.rope.dimension_count", config.head_dim, config.head_dim, config.head_dim);
  reader.int_or("llama.expert_count", 0, 0, 0);  // mixtures of experts carry the same name
  config.rms_epsilon = reader.require_float("llama.attention.layer_norm_rms_epsilon", 0, 1);
  config.rope_base = reader.float_or("llama.rope.freq_base", 10000, 1, 1e12);
  config.rope_adjacent_pairs = true;
  config.tied_output = checkpoint.find("output.weight") == nullptr;
  read_vocabulary(reader, "token_embd.weight", "llama.vocab_size", config);

  const auto half = static_cast<std::size_t>(config.head_dim / 2);
  const std::string scaling = reader.string_or("llama.rope.scaling.type", "none");
  if (scaling == "linear") {
    config.rope_factors.assign(half, reader.require_float("llama.rope.scaling.factor", 1e-3, 1e6));
  } else if (scaling != "none") {
    reader.refuse("llama.rope.scaling.type", "this RoPE scaling is not supported", "none or linear",
                  in_quotes(scaling));
  }
  if (checkpoint.find("rope_freqs.weight")) {  // Llama-3 scaling
    const TensorInfo& info = reader.require_tensor("rope_freqs.weight", 1);
    if (info.shape[0] != config.head_dim / 2) {
      reader.refuse("rope_freqs.weight", "the tensor has the wrong size", std::to_string(half),
                    std::to_string(info.shape[0]));
    }
    std::vector<float> factors(half);
    checkpoint.read_f32("rope_freqs.weight", factors);
    config.rope_factors.assign(factors.begin(), factors.end());
    for (const double factor : config.rope_factors)
      if (!(factor > 0)) reader.refuse("rope_freqs.weight", "a factor is not positive", "> 0", std::to_string(factor));
  }
}

/// The factors of transformers' "llama3" scaling: long wavelengths are stretched, short ones kept, those between mixed.
std::vector<double> llama3_factors(const ConfigReader& reader, const std::string& prefix, const ModelConfig& config) {
  const double factor = reader.require_float(prefix + "factor", 1e-3, 1e6);
  const double low = reader.require_float(prefix + "low_freq_factor", 1e-6, 1e6);
  const double high = reader.require_float(prefix + "high_freq_factor", 1e-6, 1e6);
  const double original = reader.require_float(prefix + "original_max_position_embeddings", 1, max_context);
  if (!(high > low)) {
    reader.refuse(prefix + "high_freq_factor", "the value is out of range", "more than " + std::to_string(low),
                  std::to_string(high));
  }
  std::vector<double> factors;
  for (std::int64_t i = 0; i < config.head_dim / 2; ++i) {
    const double frequency =
        std::pow(config.rope_base, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
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
                  ModelConfig& config) {
  const std::string key = prefix + (checkpoint.get_string(prefix + "rope_type") ? "rope_type" : "type");
  const std::string type = reader.string_or(key, "default");
  if (type == "linear") {
    config.rope_factors.assign(static_cast<std::size_t>(config.head_dim / 2),
                               reader.require_float(prefix + "factor", 1e-3, 1e6));
  } else if (type == "llama3") {
    config.rope_factors = llama3_factors(reader, prefix, config);
  } else if (type != "default") {
    reader.refuse(key, "this RoPE scaling is not supported", "default, linear or llama3", in_quotes(type));
  }
}

void read_safetensors(const Checkpoint& checkpoint, ModelConfig& config) {
  const ConfigReader reader(checkpoint);
  config.num_layers = reader.require_int("num_hidden_layers", 1, max_layers);
  config.width = reader.require_int("hidden_size", 1, max_width);
  config.mlp_width = reader.require_int("intermediate_size", 1, max_mlp);
  config.context_length = reader.require_int("max_position_embeddings", 1, max_context);
  config.num_q_heads = reader.require_int("num_attention_heads", 1, max_heads);
  config.num_kv_heads = reader.int_or("num_key_value_heads", config.num_q_heads, 1, max_heads);
  config.head_dim = checkpoint.get_int("head_dim") ? reader.require_int("head_dim", 2, max_head_dim)
                                                   : default_head_dim(reader, "num_attention_heads", config);
  check_shape(reader, "num_key_value_heads", "head_dim", config);
  config.rms_epsilon = reader.float_or("rms_norm_eps", 1e-6, 0, 1);
  reader.must_not_be_set("attention_bias", "biases in attention are not supported");
  reader.must_not_be_set("mlp_bias", "biases in the MLP are not supported");
  if (const std::string activation = reader.string_or("hidden_act", "silu"); activation != "silu")
    reader.refuse("hidden_act", "this activation is not supported", "silu", in_quotes(activation));
  // transformers 5 keeps base and scaling together; before, they were apart.
  config.rope_base = checkpoint.get_float("rope_parameters.rope_theta")
                         ? reader.require_float("rope_parameters.rope_theta", 1, 1e12)
                         : reader.float_or("rope_theta", 10000, 1, 1e12);
  read_scaling(checkpoint, reader, "rope_scaling.", config);
  read_scaling(checkpoint, reader, "rope_parameters.", config);
  config.rope_adjacent_pairs = false;
  config.tied_output = checkpoint.get_bool("tie_word_embeddings").value_or(false);
  read_vocabulary(reader, "model.embed_tokens.weight", "vocab_size", config);
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
  config.layers.assign(static_cast<std::size_t>(config.num_layers), LayerKind::full);
}

}  // namespace

Architecture entry_llama() {
  return {"llama", "LlamaForCausalLM", read};
}

}  // namespace headroom::checkpoint
