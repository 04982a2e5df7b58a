// SPDX-License-Identifier: Apache-2.0
// Gemma 3's text model, alone or as a part of one that sees pictures (whose other tensors are left out): norms of 1 + w
// before and after mixer and MLP, norms of q and k, five layers with a window and a RoPE of their own for each full
// one.
#include <algorithm>
#include <cmath>

#include "model/family_config.h"
#include "model/family_plan.h"
#include "model/rope_config.h"

namespace headroom::model {
namespace {

using checkpoint::Checkpoint;
using checkpoint::ConfigReader;
using checkpoint::Format;

constexpr std::int64_t full_every = 6;      // the last of each six layers is full
constexpr double local_base = 10000;        // of the windows' RoPE, which is never scaled
constexpr std::int64_t layers_of_27b = 62;  // whose queries are scaled by another rule; GGUF does not say so

// Common to both formats.
void complete_gemma3(const LayerSpec& layer, const RopeSpec& local, ModelConfig& config) {
  config.norm.after = true;
  config.embedding_scale = std::sqrt(static_cast<double>(config.width));
  for (LayerSpec& one : config.layers) {
    const std::int64_t window = one.attention.window;
    one = layer;
    one.mlp.kind = MlpKind::geglu_tanh;
    one.attention.qk_norm = true;
    one.attention.window = window;
    if (window > 0) one.attention.rope = local;
  }
  name_kinds(config);
}

void read_gemma3_gguf(const Checkpoint& checkpoint, ModelConfig& config) {
  const ConfigReader reader(checkpoint, "gemma3.");
  LayerSpec layer;
  const std::int64_t num_layers = read_gguf_model(reader, config, layer);
  reader.require_float("rope.freq_base", 1, 1e12);  // programs differ in what none means
  read_gguf_rope(reader, config, layer.attention);
  RopeSpec local{.base = reader.float_or("rope.freq_base_swa", local_base, 1, 1e12),
                 .factors = {},
                 .dims = layer.attention.head_dim};
  for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping"})
    reader.must_be(key, 0.0, "capped logits are not supported");
  if (num_layers == layers_of_27b)
    layer.attention.scale =
        1 / std::sqrt(static_cast<double>(config.width) / static_cast<double>(layer.attention.num_q_heads));
  config.layers.resize(static_cast<std::size_t>(num_layers));
  read_gguf_windows(reader, full_every, config);
  complete_gemma3(layer, local, config);
  reader.refuse_unread({harmless_gguf_keys()});
}

/// What stands before the names of the text model's tensors: it depends on who saved them.
std::string gemma3_prefix(const Checkpoint& checkpoint) {
  for (const char* prefix : {"language_model.model.", "model.language_model."})
    if (checkpoint.find(std::string(prefix) + "embed_tokens.weight")) return prefix;
  return "model.";
}

std::string gemma3_output(const Checkpoint& checkpoint) {
  constexpr const char* inside = "language_model.lm_head.weight";
  return checkpoint.find(inside) ? inside : "lm_head.weight";
}

/// Of the whole model's configuration: its other parts, and what joins them.
constexpr std::string_view beside_gemma3_text[] = {
    "text_config.",      "vision_config.", "mm_tokens_per_image", "boi_token_index", "eoi_token_index",
    "image_token_index", "boi_token_id",   "eoi_token_id",        "image_token_id",  "cache_implementation"};
/// The list "layer_types" says what this number only helped to make; the other chooses how a cache is stored.
constexpr std::string_view harmless_gemma3[] = {"_sliding_window_pattern", "cache_implementation"};

void read_gemma3_windows(const ConfigReader& reader, ModelConfig& config) {
  const bool none = reader.checkpoint().holds(reader.key("sliding_window")) == checkpoint::Held::empty;
  const std::int64_t window = reader.int_or("sliding_window", none ? 0 : 4096, 1, max_context);
  const std::int64_t every = reader.int_or("sliding_window_pattern", full_every, 1, max_layers);
  if (read_layer_types(reader, window, config)) return;
  for (std::int64_t i = 0; i < config.num_layers(); ++i) {
    if ((i + 1) % every == 0) continue;
    if (window == 0)
      reader.refuse("sliding_window", "the key is missing", "the window of layer " + std::to_string(i), "null");
    config.layers[static_cast<std::size_t>(i)].attention.window = window;
  }
}

void read_gemma3_config(const Checkpoint& checkpoint, ModelConfig& config) {
  const auto names = checkpoint.get_strings("architectures");
  const bool whole = names && std::ranges::find(*names, "Gemma3ForConditionalGeneration") != names->end();
  const std::string prefix = gemma3_prefix(checkpoint), output = gemma3_output(checkpoint);
  ConfigReader reader(checkpoint, whole ? "text_config." : "");
  reader.may_be_empty({"attn_logit_softcapping", "final_logit_softcapping", "use_bidirectional_attention"});
  LayerSpec layer;
  const std::int64_t num_layers =
      read_config_model(reader,
                        {.architecture = whole ? "Gemma3ForConditionalGeneration" : "Gemma3ForCausalLM",
                         .model_types = {"gemma3_text"},
                         .absent = {.context = 131072, .q_heads = 8, .kv_heads = 4, .head_dim = 256},
                         .absent_tied = true,
                         .activation_key = "hidden_activation",
                         .activation = "gelu_pytorch_tanh",
                         .embedding = prefix + "embed_tokens.weight",
                         .output = output},
                        config, layer);
  if (whole) {
    ConfigReader model(checkpoint);
    allow_empty_config_keys(model);
    check_model_type(model, "Gemma3ForConditionalGeneration", {"gemma3"});
    refuse_config_options(model);
    read_tied_output(model, prefix + "embed_tokens.weight", output, true, config);
    reader.must_be("tie_word_embeddings", config.tied_output, "the whole model says otherwise");
    model.refuse_unread({harmless_config_keys(), beside_gemma3_text});
  }
  must_be_text(reader, "hidden_act", "gelu_pytorch_tanh", "this activation is not supported");
  reader.must_be("use_bidirectional_attention", false, "attention to later tokens is not supported");
  for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping"})
    reader.must_be(key, 0.0, "capped logits are not supported");
  const double scalar = reader.float_or("query_pre_attn_scalar", 256, 1e-6, 1e9);
  layer.attention.scale = 1 / std::sqrt(scalar);
  reader.must_be_an_object("rope_parameters");
  AttentionSpec local = layer.attention;
  read_rope(reader, config, layer.attention, {.parameters = "rope_parameters.full_attention", .absent_base = 1e6});
  read_rope(reader, config, local,
            {.parameters = "rope_parameters.sliding_attention",
             .scaling = "",
             .base = "rope_local_base_freq",
             .absent_base = local_base});
  config.layers.resize(static_cast<std::size_t>(num_layers));
  read_gemma3_windows(reader, config);
  complete_gemma3(layer, local.rope, config);
  config.rounds_embedding_scale = true;
  reader.refuse_unread({harmless_config_keys(), harmless_gemma3});
}

void read_gemma3(const Checkpoint& checkpoint, ModelConfig& config) {
  checkpoint.format() == Format::gguf ? read_gemma3_gguf(checkpoint, config) : read_gemma3_config(checkpoint, config);
}

ModelPlan plan_gemma3(const Checkpoint& checkpoint, const ModelConfig& config) {
  return FamilyPlan(checkpoint, config,
                    {.prefix = gemma3_prefix(checkpoint), .output = gemma3_output(checkpoint), .plus_one = true})
      .whole();
}

/// The part that sees pictures, and what carries its results over.
bool stands_beside_gemma3(const ModelConfig& config, std::string_view tensor) {
  const std::string_view name = tensor.starts_with("model.") ? tensor.substr(6) : tensor;
  return name.starts_with("vision_tower.") || name.starts_with("multi_modal_projector.") ||
         stands_beside_usual_plan(config, tensor);
}

}  // namespace

Family entry_gemma3() {
  return {"gemma3",     {"gemma3"},   {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"},
          &read_gemma3, &plan_gemma3, &stands_beside_gemma3};
}

}  // namespace headroom::model
