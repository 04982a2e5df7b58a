// SPDX-License-Identifier: Apache-2.0
#include "model/hybrid_config.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "checkpoint/metadata.h"
#include "model/family_config.h"
#include "model/rope_config.h"

namespace headroom::model {

using checkpoint::Checkpoint;
using checkpoint::ConfigReader;
using checkpoint::Format;
using checkpoint::in_quotes;

namespace {

constexpr std::string_view vision_prefix = "model.language_model.";

/// -1 where the name is not that of a tensor of a GGUF block.
std::int64_t gguf_block(std::string_view tensor) {
  constexpr std::string_view start = "blk.";
  std::int64_t number = -1;
  if (tensor.starts_with(start)) std::from_chars(tensor.data() + start.size(), tensor.data() + tensor.size(), number);
  return number;
}

void read_hybrid_gguf(const Checkpoint& checkpoint, const HybridRules& rules, ModelConfig& config) {
  const ConfigReader reader(checkpoint, rules.gguf);
  LayerSpec layer;
  const std::int64_t blocks = read_gguf_core(reader, config, layer.attention);
  // The last ones predict tokens further ahead: not part of the model's own pass.
  const std::int64_t ahead = reader.int_or("nextn_predict_layers", 0, 0, blocks - 1), num_layers = blocks - ahead;
  for (const checkpoint::TensorInfo& tensor : checkpoint.tensors()) {
    if (gguf_block(tensor.name) >= blocks)
      throw input_error(checkpoint.path().string() + ": tensor " + in_quotes(tensor.name),
                        "there are more blocks than the file says", std::to_string(blocks), "one more");
  }
  reader.has("rope.dimension_sections");  // of images' positions; those of text are all the same
  read_gguf_rope(reader, config, layer.attention);
  if (rules.experts) {
    read_gguf_experts(reader, true, layer.mlp);
    layer.mlp.normalised = reader.bool_or("expert_weights_norm", true);
    reader.int_or("feed_forward_length", 0, 0, max_mlp);  // of layers without experts: there are none
  } else {
    layer.mlp.width = reader.require_int("feed_forward_length", 1, max_mlp);
  }
  read_gguf_delta(reader, layer.delta);
  layer.delta.tiled_heads = rules.tiled_heads;
  config.layers.assign(static_cast<std::size_t>(num_layers), layer);
  read_gguf_hybrid(reader, config);
  reader.refuse_unread({harmless_gguf_keys()});
}

/// What stands around the text model's own configuration in a checkpoint with vision.
void read_around(const Checkpoint& checkpoint, const HybridRules& rules, const ModelConfig& config) {
  ConfigReader reader(checkpoint);
  allow_empty_config_keys(reader);
  check_model_type(reader, rules.architecture, {rules.model_types.back()});
  refuse_config_options(reader);
  if (reader.bool_or("tie_word_embeddings", config.tied_output) != config.tied_output)
    reader.refuse("tie_word_embeddings", "the whole model and its text part disagree",
                  config.tied_output ? "true" : "false", config.tied_output ? "false" : "true");
  constexpr std::string_view harmless[] = {"text_config.",   "vision_config.",        "image_token_id",
                                           "video_token_id", "vision_start_token_id", "vision_end_token_id"};
  reader.refuse_unread({harmless_config_keys(), harmless});
}

void read_hybrid_config(const Checkpoint& checkpoint, const HybridRules& rules, ModelConfig& config) {
  const bool around = !checkpoint.keys("text_config.").empty();
  ConfigReader reader(checkpoint, around ? "text_config." : "");
  const std::string prefix(checkpoint.find(std::string(vision_prefix) + "embed_tokens.weight") ? vision_prefix
                                                                                               : "model.");
  LayerSpec layer;
  allow_empty_config_keys(reader);
  check_model_type(reader, rules.architecture, {rules.model_types.front()});
  const std::int64_t num_layers = read_sizes(reader, config_sizes, config);
  read_heads(reader, config_sizes, config.width, layer.attention, {.head_dim = 256});
  config.norm.epsilon = reader.float_or("rms_norm_eps", 1e-6, 0, 1);
  refuse_config_options(reader);
  reader.must_be("attention_bias", false, "biases in attention are not supported");
  must_be_text(reader, "hidden_act", "silu", "this activation is not supported");
  reader.must_be("attn_output_gate", true, "full attention without its gate is not supported");
  read_vocabulary(reader, prefix + "embed_tokens.weight", config_sizes.vocabulary, config);
  // Where the text part does not say, the whole does.
  const bool whole_tied = around && checkpoint.get_bool("tie_word_embeddings").value_or(false);
  read_tied_output(reader, prefix + "embed_tokens.weight", "lm_head.weight", whole_tied, config);
  read_rope(reader, config, layer.attention, {.partial = true, .absent_part = 0.25});
  for (const char* key : {"rope_parameters.mrope_section", "rope_parameters.mrope_interleaved"})
    reader.has(key);  // of images' positions; those of text are all the same
  if (rules.experts) {
    read_config_experts(reader, rules.expert_keys, layer.mlp);
    if (rules.always_normalised)
      reader.must_be("norm_topk_prob", true, "the weights of the chosen experts always add up to 1 here");
    layer.mlp.normalised = rules.always_normalised || reader.bool_or("norm_topk_prob", true);
    reader.int_or("decoder_sparse_step", 1, 1, 1);  // experts in every layer
    reader.has("intermediate_size");                // of layers without experts: there are none
  } else {
    layer.mlp.width = reader.require_int(config_sizes.mlp, 1, max_mlp);
  }
  if (const auto dense = reader.numbers("mlp_only_layers"); dense && !dense->empty())
    reader.refuse("mlp_only_layers", "layers without experts are not supported in this architecture", "none",
                  std::to_string(dense->size()));
  read_config_delta(reader, layer.delta);
  config.layers.assign(static_cast<std::size_t>(num_layers), layer);
  read_config_hybrid(reader, config);
  constexpr std::string_view ahead[] = {"mtp_num_hidden_layers", "mtp_use_dedicated_embeddings"};
  constexpr std::string_view around_it[] = {"text_config.", "vision_config."};
  reader.refuse_unread({harmless_config_keys(), ahead,
                        around ? std::span<const std::string_view>() : std::span<const std::string_view>(around_it)});
  if (around) read_around(checkpoint, rules, config);
}

}  // namespace

void read_hybrid(const Checkpoint& checkpoint, const HybridRules& rules, ModelConfig& config) {
  if (checkpoint.format() == Format::gguf)
    read_hybrid_gguf(checkpoint, rules, config);
  else
    read_hybrid_config(checkpoint, rules, config);
  for (LayerSpec& layer : config.layers) {
    if (layer.kind == LayerKind::full)
      layer.attention.qk_norm = layer.attention.output_gate = true;
    else
      layer.attention = {};
  }
}

ModelPlan plan_hybrid(const Checkpoint& checkpoint, const ModelConfig& config, bool fused) {
  const bool vision = checkpoint.find(std::string(vision_prefix) + "embed_tokens.weight") != nullptr;
  const FamilyPlan names(checkpoint, config,
                         {.prefix = std::string(vision ? vision_prefix : "model."), .plus_one = true});
  ModelPlan plan;
  plan.ends = names.ends();
  for (std::int64_t i = 0; i < config.num_layers(); ++i) {
    TensorPlans& layer = plan.layers.emplace_back();
    names.add_norms(layer, i);
    if (names.gguf())
      layer["mlp_norm"] = names.vector(names.layer_prefix(i) + "post_attention_norm.weight", config.width);
    if (config.layer(i).kind != LayerKind::linear)
      names.add_attention(layer, i);
    else
      add_delta(names, config, i, fused, layer);
    if (config.layer(i).mlp.has_experts())
      add_experts(checkpoint, names, config, i, layer);
    else
      names.add_gated_mlp(layer, i);
  }
  return plan;
}

bool stands_beside_hybrid(const ModelConfig& config, std::string_view tensor) {
  return tensor.starts_with("mtp.") || tensor.starts_with("model.visual.") || tensor.starts_with("visual.") ||
         gguf_block(tensor) >= config.num_layers() || stands_beside_usual_plan(config, tensor);
}

}  // namespace headroom::model
