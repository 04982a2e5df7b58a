// SPDX-License-Identifier: Apache-2.0
#include "model/family_config.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "checkpoint/metadata.h"

namespace headroom::model {

using checkpoint::Checkpoint;
using checkpoint::ConfigReader;
using checkpoint::in_quotes;
using checkpoint::TensorInfo;

const SizeKeys gguf_sizes = {
    "block_count",          "embedding_length",        "feed_forward_length",  "context_length",
    "attention.head_count", "attention.head_count_kv", "attention.key_length", "vocab_size"};
const SizeKeys config_sizes = {
    "num_hidden_layers",   "hidden_size",         "intermediate_size", "max_position_embeddings",
    "num_attention_heads", "num_key_value_heads", "head_dim",          "vocab_size"};

namespace {

std::int64_t int_or_required(const ConfigReader& reader, std::string_view key, std::int64_t absent,
                             std::int64_t largest) {
  return absent > 0 ? reader.int_or(key, absent, 1, largest) : reader.require_int(key, 1, largest);
}

}  // namespace

std::int64_t read_sizes(const ConfigReader& reader, const SizeKeys& keys, ModelConfig& config,
                        const AbsentSizes& absent) {
  const std::int64_t num_layers = reader.require_int(keys.layers, 1, max_layers);
  config.width = reader.require_int(keys.width, 1, max_width);
  config.context_length = int_or_required(reader, keys.context, absent.context, max_context);
  return num_layers;
}

void read_heads(const ConfigReader& reader, const SizeKeys& keys, std::int64_t width, AttentionSpec& attention,
                const AbsentSizes& absent) {
  attention.num_q_heads = int_or_required(reader, keys.q_heads, absent.q_heads, max_heads);
  // A null takes the general rule in transformers, too.
  const auto standing_for = [&](const char* key, std::int64_t value) {
    const bool empty = reader.checkpoint().holds(reader.key(key)) == checkpoint::Held::empty;
    return empty ? 0 : value;
  };
  const std::int64_t kv_heads = standing_for(keys.kv_heads, absent.kv_heads);
  attention.num_kv_heads = reader.int_or(keys.kv_heads, kv_heads > 0 ? kv_heads : attention.num_q_heads, 1, max_heads);
  const std::int64_t head_dim = standing_for(keys.head_dim, absent.head_dim);
  if (reader.has(keys.head_dim) || head_dim > 0) {
    attention.head_dim = reader.int_or(keys.head_dim, head_dim, 2, max_head_dim);
  } else {
    if (width % attention.num_q_heads != 0)
      reader.refuse(keys.q_heads, "the width does not divide among the query heads",
                    "a divisor of " + std::to_string(width), std::to_string(attention.num_q_heads));
    attention.head_dim = width / attention.num_q_heads;
  }
  if (attention.num_q_heads % attention.num_kv_heads != 0)
    reader.refuse(keys.kv_heads, "the query heads do not divide among the KV heads",
                  "a divisor of " + std::to_string(attention.num_q_heads), std::to_string(attention.num_kv_heads));
  if (attention.head_dim % 2 != 0)
    reader.refuse(keys.head_dim, "the head dimension is odd", "an even number", std::to_string(attention.head_dim));
  attention.scale = 1.0 / std::sqrt(static_cast<double>(attention.head_dim));
  attention.rope.dims = attention.head_dim;
}

void read_vocabulary(const ConfigReader& reader, std::string_view embedding, std::string_view key,
                     ModelConfig& config) {
  if (reader.checkpoint().tensors().empty()) {
    config.vocabulary = reader.require_int(key, 1, max_vocabulary);
    return;
  }
  const TensorInfo& info = reader.require_tensor(embedding, 2);
  config.vocabulary = reader.int_or(key, info.shape[0], 1, max_vocabulary);
  if (info.shape[0] != config.vocabulary || info.shape[0] > max_vocabulary) {
    reader.refuse(key, "the vocabulary does not fit the embedding",
                  std::to_string(info.shape[0]) + " rows of " + in_quotes(embedding),
                  std::to_string(config.vocabulary));
  }
}

void name_kinds(ModelConfig& config) {
  for (LayerSpec& layer : config.layers) layer.kind = layer.attention.window > 0 ? LayerKind::sliding : LayerKind::full;
}

void refuse_biases(const Checkpoint& checkpoint) {
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    if (tensor.name.ends_with(".bias")) {
      throw input_error(checkpoint.path().string() + ": tensor " + in_quotes(tensor.name),
                        "biases are not supported in this architecture", "no tensor of that name", "one");
    }
  }
}

// --- GGUF ---

std::int64_t read_gguf_model(const ConfigReader& reader, ModelConfig& config, LayerSpec& layer,
                             const AbsentSizes& absent) {
  const std::int64_t num_layers = read_gguf_core(reader, config, layer.attention, absent);
  layer.mlp.width = reader.require_int(gguf_sizes.mlp, 1, max_mlp);
  const std::int64_t d = layer.attention.head_dim;
  reader.int_or("rope.dimension_count", d, d, d);
  for (const char* key : {"expert_count", "expert_used_count"})  // some names serve mixtures of experts, too
    reader.must_be(key, 0.0, "mixtures of experts are not supported");
  return num_layers;
}

std::int64_t read_gguf_core(const ConfigReader& reader, ModelConfig& config, AttentionSpec& attention,
                            const AbsentSizes& absent) {
  const std::int64_t num_layers = read_sizes(reader, gguf_sizes, config, absent);
  read_heads(reader, gguf_sizes, config.width, attention, absent);
  const std::int64_t d = attention.head_dim;
  reader.int_or("attention.value_length", d, d, d);
  attention.rope.dims = reader.int_or("rope.dimension_count", d, 2, d);
  if (attention.rope.dims % 2 != 0)
    reader.refuse("rope.dimension_count", "the rotated dimensions do not fit the head",
                  "an even number up to " + std::to_string(d), std::to_string(attention.rope.dims));
  reader.must_be("attention.causal", true, "attention to later tokens is not supported");
  reader.must_be("use_parallel_residual", false, "attention and MLP side by side are not supported");
  reader.must_be("attention.max_alibi_bias", 0.0, "ALiBi is not supported");
  reader.must_be("attention.clamp_kqv", 0.0, "clamped q, k and v are not supported");
  config.norm.epsilon = reader.require_float("attention.layer_norm_rms_epsilon", 0, 1);
  config.tied_output = reader.checkpoint().find("output.weight") == nullptr;
  read_vocabulary(reader, "token_embd.weight", gguf_sizes.vocabulary, config);
  return num_layers;
}

void read_gguf_windows(const ConfigReader& reader, std::int64_t period, ModelConfig& config) {
  constexpr std::string_view key = "attention.sliding_window", pattern_key = "attention.sliding_window_pattern";
  const std::int64_t window = reader.int_or(key, 0, 0, max_context), num_layers = config.num_layers();
  std::vector<bool> slides(static_cast<std::size_t>(num_layers));
  const auto by_period = [&](std::int64_t every) {
    for (std::int64_t i = 0; i < num_layers; ++i)
      slides[static_cast<std::size_t>(i)] = every == 0 || (i + 1) % every != 0;
  };
  by_period(period);
  if (reader.has(pattern_key)) {
    const std::string found = reader.checkpoint().keys(reader.key(pattern_key)).at(reader.key(pattern_key));
    if (!found.starts_with('[')) {
      by_period(reader.require_int(pattern_key, 0, max_layers));
    } else {
      const auto list = reader.numbers(pattern_key);
      if (static_cast<std::int64_t>(list->size()) != num_layers)
        reader.refuse(pattern_key, "the list does not fit the layers", std::to_string(num_layers) + " entries",
                      std::to_string(list->size()));
      for (std::size_t i = 0; i < list->size(); ++i) slides[i] = (*list)[i] != 0;
    }
    if (window == 0 && std::ranges::find(slides, true) != slides.end())
      reader.refuse(key, "the key is missing", "the window of the layers that slide", "nothing");
  }
  for (std::size_t i = 0; i < slides.size(); ++i) config.layers[i].attention.window = slides[i] ? window : 0;
}

std::span<const std::string_view> harmless_gguf_keys() {
  static constexpr std::string_view keys[] = {"rope.scaling.finetuned", "pooling_type"};
  return keys;
}

// --- config.json ---

std::int64_t read_config_model(ConfigReader& reader, const ConfigRules& rules, ModelConfig& config, LayerSpec& layer) {
  allow_empty_config_keys(reader);
  check_model_type(reader, rules.architecture, rules.model_types);
  const std::int64_t num_layers = read_sizes(reader, config_sizes, config, rules.absent);
  layer.mlp.width = reader.require_int(config_sizes.mlp, 1, max_mlp);
  read_heads(reader, config_sizes, config.width, layer.attention, rules.absent);
  config.norm.epsilon = reader.float_or("rms_norm_eps", 1e-6, 0, 1);
  refuse_config_options(reader);
  reader.must_be("attention_bias", false, "biases in attention are not supported");
  reader.must_be("mlp_bias", false, "biases in the MLP are not supported");
  must_be_text(reader, rules.activation_key, rules.activation, "this activation is not supported");
  read_vocabulary(reader, rules.embedding, config_sizes.vocabulary, config);
  read_tied_output(reader, rules.embedding, rules.output, rules.absent_tied, config);
  return num_layers;
}

void allow_empty_config_keys(ConfigReader& reader) {
  reader.may_be_empty({"head_dim", "num_key_value_heads", "sliding_window", "layer_types", "rope_scaling",
                       "rope_parameters", "pruned_heads", "quantization_config", "auto_map",
                       "cross_attention_hidden_size"});
}

void refuse_config_options(const ConfigReader& reader) {
  reader.must_be("is_causal", true, "attention to later tokens is not supported");
  reader.must_be("rope_interleaved", false, "RoPE on adjacent pairs is not supported in this format");
  reader.must_be("is_encoder_decoder", false, "encoders are not supported");
  reader.must_be("add_cross_attention", false, "cross-attention is not supported");
  reader.must_be("tie_encoder_decoder", false, "encoders are not supported");
  for (const char* key : {"pruned_heads", "quantization_config", "auto_map", "cross_attention_hidden_size"})
    reader.must_be_an_object(key);
}

void must_be_text(const ConfigReader& reader, std::string_view key, std::string_view only, std::string_view why) {
  if (const std::string found = reader.string_or(key, only); found != only)
    reader.refuse(key, std::string(why), std::string(only), in_quotes(found));
}

void check_model_type(const ConfigReader& reader, std::string_view architecture,
                      std::initializer_list<std::string_view> types) {
  const std::string found = reader.string_or("model_type", *types.begin());
  if (std::ranges::find(types, found) != types.end()) return;
  std::string known;
  for (const std::string_view type : types) known += (known.empty() ? "" : " or ") + std::string(type);
  reader.refuse("model_type", "the type does not fit the architecture " + std::string(architecture), known,
                in_quotes(found));
}

void read_tied_output(const ConfigReader& reader, std::string_view embedding, std::string_view output, bool absent,
                      ModelConfig& config) {
  const Checkpoint& checkpoint = reader.checkpoint();
  config.tied_output = reader.bool_or("tie_word_embeddings", absent);
  if (config.tied_output && checkpoint.find(output) && !checkpoint.same_data(embedding, output)) {
    throw input_error(checkpoint.path().string() + ": tensor " + in_quotes(output),
                      "the tensor would be left out, as 'tie_word_embeddings' is true",
                      "the values of " + in_quotes(embedding) + ", or 'tie_word_embeddings' false", "other data");
  }
}

bool read_layer_types(const ConfigReader& reader, std::int64_t window, ModelConfig& config) {
  const auto types = reader.strings("layer_types");
  if (!types) return false;
  if (types->size() != config.layers.size())
    reader.refuse("layer_types", "the list does not fit the layers", std::to_string(config.layers.size()) + " entries",
                  std::to_string(types->size()));
  for (std::size_t i = 0; i < types->size(); ++i) {
    const std::string& type = (*types)[i];
    config.layers[i].attention.window = 0;
    if (type == "full_attention") continue;
    if (type != "sliding_attention")
      reader.refuse("layer_types", "this kind of layer is not supported", "full_attention or sliding_attention",
                    in_quotes(type));
    if (window == 0)
      reader.refuse("sliding_window", "the key is missing", "the window of layer " + std::to_string(i), "nothing");
    config.layers[i].attention.window = window;
  }
  return true;
}

std::span<const std::string_view> harmless_config_keys() {
  static constexpr std::string_view keys[] = {
      "architectures", "_name_or_path", "_attn_implementation", "_attn_implementation_autoset", "attn_implementation",
      "_flash_attn_2_enabled", "_commit_hash", "transformers_version", "transformers.js_config.", "torch_dtype",
      "dtype", "use_bfloat16", "torchscript", "tf_legacy_loss", "is_llama_config", "unsloth_fixed", "unsloth_version",
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
      "exponential_decay_length_penalty", "exponential_decay_length_penalty.", "suppress_tokens",
      "begin_suppress_tokens", "is_decoder"};
  return keys;
}

}  // namespace headroom::model
