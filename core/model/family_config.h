// SPDX-License-Identifier: Apache-2.0
// What families read alike from a checkpoint's metadata: sizes, heads, vocabulary, output, windows, options that no
// part implements. A family calls what fits it and reads the rest itself; what nobody asked for is refused at the end
// (ConfigReader::refuse_unread). A GGUF file is read by a reader with the prefix "ARCHITECTURE.", config.json by one
// without (or with "text_config."). All throw input errors that name the key.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "checkpoint/config_reader.h"
#include "model/model_config.h"

namespace headroom::model {

inline constexpr std::int64_t max_layers = 1024, max_width = 1 << 17, max_heads = 1024, max_head_dim = 1024;
inline constexpr std::int64_t max_mlp = 1 << 20, max_vocabulary = 1 << 22, max_context = 1 << 24;

/// What a format calls the sizes; those of GGUF follow the architecture's name and a dot.
struct SizeKeys {
  const char *layers, *width, *mlp, *context, *q_heads, *kv_heads, *head_dim, *vocabulary;
};
extern const SizeKeys gguf_sizes, config_sizes;

/// What a key that is absent stands for, as transformers' configuration class of the family has it. 0: the key is
/// required, and for KV heads and head_dim the general rule holds (as many as query heads; the width divided by them).
struct AbsentSizes {
  std::int64_t context = 0, q_heads = 0, kv_heads = 0, head_dim = 0;
};

/// Width and context of the model; returns the number of layers.
std::int64_t read_sizes(const checkpoint::ConfigReader& reader, const SizeKeys& keys, ModelConfig& config,
                        const AbsentSizes& absent = {});
/// Heads and their width; the scale becomes head_dim^-1/2, all dimensions are rotated.
void read_heads(const checkpoint::ConfigReader& reader, const SizeKeys& keys, std::int64_t width,
                AttentionSpec& attention, const AbsentSizes& absent = {});
/// The rows of the tensor `embedding`, which the key must agree with. A checkpoint without any tensor (a configuration
/// alone) must have the key.
void read_vocabulary(const checkpoint::ConfigReader& reader, std::string_view embedding, std::string_view key,
                     ModelConfig& config);
/// Layer kinds by window: those with one slide.
void name_kinds(ModelConfig& config);
/// Throws for the first tensor whose name ends in ".bias".
void refuse_biases(const checkpoint::Checkpoint& checkpoint);

// --- GGUF ---

/// All that is read alike: sizes, heads, MLP width, norm's epsilon, vocabulary, tied output; options that no part
/// implements are refused. Returns the number of layers; `layer` is filled but for RoPE's frequencies and windows.
std::int64_t read_gguf_model(const checkpoint::ConfigReader& reader, ModelConfig& config, LayerSpec& layer,
                             const AbsentSizes& absent = {});
/// The same without the MLP, and with RoPE on "rope.dimension_count" dimensions of a head where the key says so.
std::int64_t read_gguf_core(const checkpoint::ConfigReader& reader, ModelConfig& config, AttentionSpec& attention,
                            const AbsentSizes& absent = {});
/// "attention.sliding_window_pattern" as a period (each last layer of it full) or a list (1: the layer slides);
/// `period` where the key is absent, 0: no layer is full. Sets the windows of config.layers.
void read_gguf_windows(const checkpoint::ConfigReader& reader, std::int64_t period, ModelConfig& config);
/// Known not to change a result, whatever the architecture. For refuse_unread().
std::span<const std::string_view> harmless_gguf_keys();

// --- config.json ---

/// What differs between the configurations of families that are built like Llama.
struct ConfigRules {
  std::string_view architecture = {};                                   ///< for messages
  std::initializer_list<std::string_view> model_types = {};             ///< of which the first is the default
  AbsentSizes absent = {};                                              ///< what absent keys stand for
  bool absent_tied = false;                                             ///< the same of "tie_word_embeddings"
  std::string_view activation_key = "hidden_act", activation = "silu";  ///< the only one
  std::string embedding = "model.embed_tokens.weight", output = "lm_head.weight";
};
/// All that is read alike: sizes, heads, MLP width, norm's epsilon, vocabulary, tied output; options that no part
/// implements are refused, biases and other activations among them. Calls allow_empty_config_keys(). Returns the number
/// of layers; `layer` is filled but for RoPE (read_rope) and windows.
std::int64_t read_config_model(checkpoint::ConfigReader& reader, const ConfigRules& rules, ModelConfig& config,
                               LayerSpec& layer);

/// What transformers itself writes where there is nothing to say, as null or {}.
void allow_empty_config_keys(checkpoint::ConfigReader& reader);
/// Refuses options of transformers that no part implements, but for biases and activation.
void refuse_config_options(const checkpoint::ConfigReader& reader);
/// Throws where `key` holds another text than `only`; absent is well.
void must_be_text(const checkpoint::ConfigReader& reader, std::string_view key, std::string_view only,
                  std::string_view why);
/// "model_type", where given, must be one of these.
void check_model_type(const checkpoint::ConfigReader& reader, std::string_view architecture,
                      std::initializer_list<std::string_view> types);
/// "tie_word_embeddings" means the embedding, whatever else the file holds; that must not be another matrix.
void read_tied_output(const checkpoint::ConfigReader& reader, std::string_view embedding, std::string_view output,
                      bool absent, ModelConfig& config);
/// Windows of config.layers by the list "layer_types" ("full_attention" and "sliding_attention"). False where there is
/// no list. `window`: 0 where the model has none.
bool read_layer_types(const checkpoint::ConfigReader& reader, std::int64_t window, ModelConfig& config);
/// Names, training, generation, bookkeeping: known not to change a logit. For refuse_unread().
std::span<const std::string_view> harmless_config_keys();

}  // namespace headroom::model
