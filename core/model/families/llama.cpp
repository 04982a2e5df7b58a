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
using checkpoint::number_text;
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

/// What RoPE's positions are divided by. As in llama.cpp a file that names no type means linear, and 0 stands for 1.
double gguf_linear_factor(const ConfigReader& reader) {
  constexpr std::string_view type_key = "llama.rope.scaling.type", factor_key = "llama.rope.scaling.factor";
  constexpr std::string_view old_key = "llama.rope.scale_linear";  // before the type had a name
  const auto factor_of = [&](std::string_view key) {
    const double factor = reader.float_or(key, 0, 0, 1e6);
    return factor == 0 ? 1 : factor;
  };
  const bool named = reader.has(factor_key), old = reader.has(old_key);
  const double factor = factor_of(named ? factor_key : old_key);
  if (named && old && factor_of(old_key) != factor)
    reader.refuse(old_key, "there are two factors of RoPE scaling",
                  number_text(factor) + " as under " + in_quotes(factor_key), number_text(factor_of(old_key)));
  const std::string type = reader.string_or(type_key, named || old ? "linear" : "none");
  if (type != "none" && type != "linear")
    reader.refuse(type_key, "this RoPE scaling is not supported", "none or linear", in_quotes(type));
  if (type == "linear" && !named && !old) reader.refuse(factor_key, "the key is missing", "a number", "nothing");
  if (type == "none" && factor != 1)
    reader.refuse(named ? factor_key : old_key, "a factor is given for RoPE scaling of type 'none'",
                  "1, or type 'linear'", number_text(factor));
  return factor;
}

/// Llama-3 scaling arrives as a tensor; both kinds together multiply, as in llama.cpp.
void read_gguf_rope(const Checkpoint& checkpoint, const ConfigReader& reader, AttentionSpec& attention) {
  constexpr std::string_view tensor = "rope_freqs.weight";
  attention.rope.base = reader.float_or("llama.rope.freq_base", 10000, 1, 1e12);
  reader.must_be("llama.rope.scaling.attn_factor", 1.0, "a factor on RoPE's values is not supported");
  const auto half = static_cast<std::size_t>(attention.head_dim / 2);
  const double linear = gguf_linear_factor(reader);
  if (linear != 1) attention.rope.factors.assign(half, linear);
  if (!checkpoint.find(tensor)) return;
  const TensorInfo& info = reader.require_tensor(tensor, 1);
  const std::string place = checkpoint.path().string() + ": tensor " + in_quotes(tensor);
  if (info.shape[0] != static_cast<std::int64_t>(half))
    throw input_error(place, "the tensor has the wrong size", std::to_string(half), std::to_string(info.shape[0]));
  std::vector<float> factors(half);
  checkpoint.read_f32(tensor, factors);
  attention.rope.factors.clear();
  for (const float factor : factors) {
    if (!(factor > 0)) throw input_error(place, "a factor is not positive", "> 0", number_text(factor));
    attention.rope.factors.push_back(linear * factor);
  }
}

/// Beside those that are read: training's, embeddings' and those of kinds of RoPE scaling that are refused.
constexpr std::string_view harmless_gguf_keys[] = {"llama.rope.scaling.finetuned",
                                                   "llama.rope.scaling.original_context_length", "llama.pooling_type"};

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
      reader.has("llama.attention.key_length")
          ? reader.require_int("llama.attention.key_length", 2, max_head_dim)
          : default_head_dim(reader, "llama.attention.head_count", config.width, attention.num_q_heads);
  check_shape(reader, "llama.attention.head_count_kv", "llama.attention.key_length", attention);
  const std::int64_t d = attention.head_dim;
  reader.int_or("llama.attention.value_length", d, d, d);
  reader.int_or("llama.rope.dimension_count", d, d, d);
  for (const char* key : {"llama.expert_count", "llama.expert_used_count"})  // the same name for mixtures of experts
    reader.must_be(key, 0.0, "mixtures of experts are not supported");
  reader.must_be("llama.attention.causal", true, "attention to later tokens is not supported");
  reader.must_be("llama.use_parallel_residual", false, "attention and MLP side by side are not supported");
  reader.must_be("llama.attention.max_alibi_bias", 0.0, "ALiBi is not supported");
  reader.must_be("llama.attention.clamp_kqv", 0.0, "clamped q, k and v are not supported");
  constexpr std::string_view layout = "llama.tensor_data_layout", rotated = "Meta AI original pth";
  if (const std::string found = reader.string_or(layout, rotated); found != rotated)
    reader.refuse(layout, "this order of the rows of q and k is not known", in_quotes(rotated), in_quotes(found));
  config.norm.epsilon = reader.require_float("llama.attention.layer_norm_rms_epsilon", 0, 1);
  config.tied_output = checkpoint.find("output.weight") == nullptr;
  read_vocabulary(reader, "token_embd.weight", "llama.vocab_size", config);
  attention.window = reader.int_or("llama.attention.sliding_window", 0, 0, max_context);
  reader.int_or("llama.attention.sliding_window_pattern", 0, 0, 0);  // windows in some layers alone
  read_gguf_rope(checkpoint, reader, attention);
  reader.refuse_unread("llama.", harmless_gguf_keys);
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

/// False where `prefix` names no scaling.
bool read_scaling(const ConfigReader& reader, const std::string& prefix, AttentionSpec& attention) {
  const std::string key = prefix + "rope_type", old_key = prefix + "type";
  const std::string old_type = reader.string_or(old_key, "default"), type = reader.string_or(key, old_type);
  if (reader.has(old_key) && type != old_type)
    reader.refuse(old_key, "there are two types of RoPE scaling", in_quotes(type) + " as under " + in_quotes(key),
                  in_quotes(old_type));
  reader.must_be(prefix + "partial_rotary_factor", 1.0, "RoPE on a part of a head is not supported");
  if (type == "linear") {
    attention.rope.factors.assign(static_cast<std::size_t>(attention.head_dim / 2),
                                  reader.require_float(prefix + "factor", 1e-3, 1e6));
  } else if (type == "llama3") {
    attention.rope.factors = llama3_factors(reader, prefix, attention);
  } else if (type != "default") {
    reader.refuse(reader.has(key) ? key : old_key, "this RoPE scaling is not supported", "default, linear or llama3",
                  in_quotes(type));
  }
  return type != "default";
}

/// transformers 5 keeps base and scaling together in "rope_parameters"; before, they were apart.
void read_rope(const ConfigReader& reader, AttentionSpec& attention) {
  constexpr std::string_view base = "rope_theta", new_base = "rope_parameters.rope_theta";
  for (const char* key : {"rope_scaling", "rope_parameters"}) reader.must_be_an_object(key);
  attention.rope.base = reader.float_or(reader.has(new_base) ? new_base : base, 10000, 1, 1e12);
  if (reader.has(base)) {
    const double other = reader.require_float(base, 1, 1e12);
    if (other != attention.rope.base)
      reader.refuse(base, "there are two bases of RoPE",
                    number_text(attention.rope.base) + " as under " + in_quotes(new_base), number_text(other));
  }
  reader.must_be("partial_rotary_factor", 1.0, "RoPE on a part of a head is not supported");
  const bool scaled = read_scaling(reader, "rope_scaling.", attention);
  if (read_scaling(reader, "rope_parameters.", attention) && scaled)
    reader.refuse("rope_scaling", "RoPE is scaled twice", "one of rope_scaling and rope_parameters", "both");
}

// Mistral's "sliding_window" holds for every layer; where "layer_types" lists the layers, for those it names.
void read_windows(const ConfigReader& reader, ModelConfig& config) {
  const std::int64_t window = reader.int_or("sliding_window", 0, 1, max_context);
  const auto types = reader.strings("layer_types");
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

/// "tie_word_embeddings" means the embedding, whatever else the file holds; that must not be another matrix.
void read_output(const Checkpoint& checkpoint, const ConfigReader& reader, ModelConfig& config) {
  constexpr std::string_view embedding = "model.embed_tokens.weight", output = "lm_head.weight";
  config.tied_output = reader.bool_or("tie_word_embeddings", false);
  if (config.tied_output && checkpoint.find(output) && !checkpoint.same_data(embedding, output)) {
    throw input_error(checkpoint.path().string() + ": tensor " + in_quotes(output),
                      "the tensor would be left out, as 'tie_word_embeddings' is true",
                      "the values of " + in_quotes(embedding) + ", or 'tie_word_embeddings' false", "other data");
  }
}

/// Of config.json, known not to change a logit: names, training, generation, bookkeeping of transformers.
constexpr std::string_view harmless_config_keys[] = {
    "architectures", "_name_or_path", "_attn_implementation", "_attn_implementation_autoset", "attn_implementation",
    "_flash_attn_2_enabled", "_commit_hash", "transformers_version", "transformers.js_config.", "torch_dtype", "dtype",
    "use_bfloat16", "torchscript", "tf_legacy_loss", "is_llama_config", "unsloth_fixed", "unsloth_version",
    "tokenizer_class", "model_max_length",
    // tokens and labels
    "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id", "decoder_start_token_id",
    "id2label", "id2label.", "label2id", "label2id.", "num_labels", "problem_type", "finetuning_task",
    "task_specific_params", "task_specific_params.", "prefix",
    // training
    "initializer_range", "gradient_checkpointing", "attention_dropout", "hidden_dropout", "resid_pdrop", "embd_pdrop",
    "attn_pdrop", "classifier_dropout", "output_attentions", "output_hidden_states", "return_dict", "use_cache",
    // computed in another order, to the same result
    "pretraining_tp", "chunk_size_feed_forward",
    // generation
    "max_length", "max_sequence_length", "min_length", "max_new_tokens", "do_sample", "early_stopping", "num_beams",
    "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty",
    "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences",
    "output_scores", "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
    "exponential_decay_length_penalty", "exponential_decay_length_penalty.", "suppress_tokens", "begin_suppress_tokens",
    "is_decoder"};

void refuse_config_options(const ConfigReader& reader) {
  reader.must_be("attention_bias", false, "biases in attention are not supported");
  reader.must_be("mlp_bias", false, "biases in the MLP are not supported");
  reader.must_be("is_causal", true, "attention to later tokens is not supported");
  reader.must_be("rope_interleaved", false, "RoPE on adjacent pairs is not supported in this format");
  reader.must_be("is_encoder_decoder", false, "encoders are not supported");
  reader.must_be("add_cross_attention", false, "cross-attention is not supported");
  reader.must_be("tie_encoder_decoder", false, "encoders are not supported");
  if (const std::string type = reader.string_or("model_type", "llama"); type != "llama")
    reader.refuse("model_type", "the type does not fit the architecture LlamaForCausalLM", "llama", in_quotes(type));
  if (const std::string activation = reader.string_or("hidden_act", "silu"); activation != "silu")
    reader.refuse("hidden_act", "this activation is not supported", "silu", in_quotes(activation));
  for (const char* key : {"pruned_heads", "quantization_config", "auto_map", "cross_attention_hidden_size"})
    reader.must_be_an_object(key);
}

void read_safetensors(const Checkpoint& checkpoint, ModelConfig& config) {
  ConfigReader reader(checkpoint);
  // What transformers itself writes where there is nothing to say.
  reader.may_be_empty({"head_dim", "num_key_value_heads", "sliding_window", "layer_types", "rope_scaling",
                       "rope_parameters", "pruned_heads", "quantization_config", "auto_map",
                       "cross_attention_hidden_size"});
  const std::int64_t num_layers = reader.require_int("num_hidden_layers", 1, max_layers);
  config.width = reader.require_int("hidden_size", 1, max_width);
  LayerSpec layer;
  AttentionSpec& attention = layer.attention;
  layer.mlp.width = reader.require_int("intermediate_size", 1, max_mlp);
  config.context_length = reader.require_int("max_position_embeddings", 1, max_context);
  attention.num_q_heads = reader.require_int("num_attention_heads", 1, max_heads);
  attention.num_kv_heads = reader.int_or("num_key_value_heads", attention.num_q_heads, 1, max_heads);
  attention.head_dim = reader.has("head_dim")
                           ? reader.require_int("head_dim", 2, max_head_dim)
                           : default_head_dim(reader, "num_attention_heads", config.width, attention.num_q_heads);
  check_shape(reader, "num_key_value_heads", "head_dim", attention);
  config.norm.epsilon = reader.float_or("rms_norm_eps", 1e-6, 0, 1);
  refuse_config_options(reader);
  read_rope(reader, attention);
  read_vocabulary(reader, "model.embed_tokens.weight", "vocab_size", config);
  read_output(checkpoint, reader, config);
  config.layers.assign(static_cast<std::size_t>(num_layers), layer);
  read_windows(reader, config);
  reader.refuse_unread("", harmless_config_keys);
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

/// read() used them, or every program computes them anew: tables of RoPE's frequencies.
bool stands_beside(const ModelConfig& config, std::string_view tensor) {
  return tensor == "rope_freqs.weight" || tensor.ends_with(".attn_rot_embd.weight") ||
         tensor.ends_with(".rotary_emb.inv_freq") || (config.tied_output && tensor == "lm_head.weight");
}

}  // namespace

Family entry_llama() {
  return {"llama", "LlamaForCausalLM", &read, &plan, &stands_beside};
}

}  // namespace headroom::model
