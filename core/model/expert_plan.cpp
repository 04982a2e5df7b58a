// SPDX-License-Identifier: Apache-2.0
#include "model/expert_plan.h"

#include "base/error.h"
#include "checkpoint/metadata.h"
#include "model/family_config.h"

namespace headroom::model {

using checkpoint::Checkpoint;
using checkpoint::ConfigReader;
using checkpoint::in_quotes;

namespace {

std::int64_t int_or_needed(const ConfigReader& reader, std::string_view key, std::int64_t absent,
                           std::int64_t largest) {
  return absent > 0 ? reader.int_or(key, absent, 1, largest) : reader.require_int(key, 1, largest);
}

void check_used(const ConfigReader& reader, std::string_view key, const MlpSpec& mlp) {
  if (mlp.experts_used > mlp.experts)
    reader.refuse(key, "more experts are used than there are", "at most " + std::to_string(mlp.experts),
                  std::to_string(mlp.experts_used));
}

}  // namespace

void read_config_experts(const ConfigReader& reader, const ExpertKeys& keys, MlpSpec& mlp) {
  // transformers 5 writes the number under its own name and the family's old one.
  const bool local = reader.has("num_local_experts");
  mlp.experts = int_or_needed(reader, local ? "num_local_experts" : "num_experts", keys.absent_count, max_experts);
  if (local && reader.has("num_experts")) reader.int_or("num_experts", mlp.experts, mlp.experts, mlp.experts);
  mlp.experts_used = int_or_needed(reader, keys.used, keys.absent_used, max_experts);
  check_used(reader, keys.used, mlp);
  mlp.width = int_or_needed(reader, "moe_intermediate_size", keys.absent_width, max_mlp);
  if (keys.absent_shared_width > 0)
    mlp.shared_width = reader.int_or("shared_expert_intermediate_size", keys.absent_shared_width, 1, max_mlp);
  mlp.kind = MlpKind::experts;
  reader.has("output_router_logits");  // what is handed out beside the logits
  reader.has("router_aux_loss_coef");  // training
}

void read_gguf_experts(const ConfigReader& reader, bool shared, MlpSpec& mlp) {
  mlp.experts = reader.require_int("expert_count", 1, max_experts);
  mlp.experts_used = reader.require_int("expert_used_count", 1, max_experts);
  check_used(reader, "expert_used_count", mlp);
  mlp.width = reader.require_int("expert_feed_forward_length", 1, max_mlp);
  if (shared) mlp.shared_width = reader.require_int("expert_shared_feed_forward_length", 1, max_mlp);
  mlp.kind = MlpKind::experts;
}

void add_experts(const Checkpoint& checkpoint, const FamilyPlan& names, const ModelConfig& config, std::int64_t number,
                 TensorPlans& layer) {
  const MlpSpec& mlp = config.layer(number).mlp;
  const std::string prefix = names.layer_prefix(number), mlp_prefix = prefix + "mlp.";
  const std::int64_t width = config.width, experts = mlp.experts, rows = mlp.width;
  const bool gguf = names.gguf();
  layer["router"] = {{{gguf ? prefix + "ffn_gate_inp.weight" : mlp_prefix + "gate.weight", experts}}, width};
  TensorPlan gate_up{{}, width}, down{{}, rows};
  const auto apart = [&](const std::string& gate, const std::string& up) {  // [experts, rows, width] each
    for (std::int64_t expert = 0; expert < experts; ++expert) {
      for (const std::string& name : {gate, up})
        gate_up.blocks.push_back(
            {.tensor = name, .rows = rows, .shape = {experts, rows, width}, .first = expert * rows});
    }
  };
  const auto whole = [&](TensorPlan& plan, const std::string& name, std::int64_t each) {
    plan.blocks.push_back({.tensor = name, .rows = experts * each, .shape = {experts, each, plan.columns}});
  };
  const std::string fused = gguf ? prefix + "ffn_gate_up_exps.weight" : mlp_prefix + "experts.gate_up_proj";
  if (gguf) {
    if (checkpoint.find(fused))
      whole(gate_up, fused, 2 * rows);
    else
      apart(prefix + "ffn_gate_exps.weight", prefix + "ffn_up_exps.weight");
    whole(down, prefix + "ffn_down_exps.weight", width);
  } else if (checkpoint.find(fused) || !checkpoint.find(mlp_prefix + "experts.0.gate_proj.weight")) {
    whole(gate_up, fused, 2 * rows);
    whole(down, mlp_prefix + "experts.down_proj", width);
  } else {
    for (std::int64_t expert = 0; expert < experts; ++expert) {
      const std::string own = mlp_prefix + "experts." + std::to_string(expert) + ".";
      gate_up.blocks.push_back({own + "gate_proj.weight", rows});
      gate_up.blocks.push_back({own + "up_proj.weight", rows});
      down.blocks.push_back({own + "down_proj.weight", width});
    }
  }
  layer["experts_gate_up"] = std::move(gate_up);
  layer["experts_down"] = std::move(down);
  if (mlp.shared_width == 0) return;
  const auto shared = [&](const char* in_gguf, const char* in_safetensors) {
    return gguf ? prefix + in_gguf : mlp_prefix + in_safetensors;
  };
  layer["shared_gate_up"] = {{{shared("ffn_gate_shexp.weight", "shared_expert.gate_proj.weight"), mlp.shared_width},
                              {shared("ffn_up_shexp.weight", "shared_expert.up_proj.weight"), mlp.shared_width}},
                             width};
  layer["shared_down"] = {{{shared("ffn_down_shexp.weight", "shared_expert.down_proj.weight"), width}},
                          mlp.shared_width};
  RowBlock gate{shared("ffn_gate_inp_shexp.weight", "shared_expert_gate.weight"), 1};
  if (gguf) gate.shape = {width};  // one output: GGUF drops the dimension
  if (const auto* info = gguf ? checkpoint.find(gate.tensor) : nullptr; info && info->shape.size() == 2)
    gate.shape = {};
  layer["shared_gate"] = {{std::move(gate)}, width};
}

void read_config_delta(const ConfigReader& reader, DeltaSpec& delta) {
  delta.key_heads = reader.int_or("linear_num_key_heads", 16, 1, max_heads);
  delta.value_heads = reader.int_or("linear_num_value_heads", 32, 1, max_heads);
  delta.key_dim = reader.int_or("linear_key_head_dim", 128, 1, max_head_dim);
  delta.value_dim = reader.int_or("linear_value_head_dim", 128, 1, max_head_dim);
  delta.kernel = reader.int_or("linear_conv_kernel_dim", 4, 2, 64);
  if (delta.value_heads % delta.key_heads != 0)
    reader.refuse("linear_num_value_heads", "the value heads do not divide among the key heads",
                  "a multiple of " + std::to_string(delta.key_heads), std::to_string(delta.value_heads));
  for (const auto& [key, width] : {std::pair("linear_num_key_heads", delta.key_heads * delta.key_dim),
                                   std::pair("linear_num_value_heads", delta.value_heads * delta.value_dim)})
    if (width > max_width)
      reader.refuse(key, "the heads are too wide together", "at most " + std::to_string(max_width), std::to_string(width));
  // Of the state, which is fp32 here.
  must_be_text(reader, "mamba_ssm_dtype", "float32", "another precision of the state is not supported");
}

void read_gguf_delta(const ConfigReader& reader, DeltaSpec& delta) {
  delta.kernel = reader.require_int("ssm.conv_kernel", 2, 64);
  delta.key_dim = reader.require_int("ssm.state_size", 1, max_head_dim);
  delta.key_heads = reader.require_int("ssm.group_count", 1, max_heads);
  delta.value_heads = reader.require_int("ssm.time_step_rank", 1, max_heads);
  const std::int64_t inner = reader.require_int("ssm.inner_size", 1, max_width);
  if (delta.value_heads % delta.key_heads != 0)
    reader.refuse("ssm.time_step_rank", "the value heads do not divide among the key heads",
                  "a multiple of " + std::to_string(delta.key_heads), std::to_string(delta.value_heads));
  if (inner % delta.value_heads != 0)
    reader.refuse("ssm.inner_size", "the width does not divide among the value heads",
                  "a multiple of " + std::to_string(delta.value_heads), std::to_string(inner));
  delta.value_dim = inner / delta.value_heads;
}

void read_config_hybrid(const ConfigReader& reader, ModelConfig& config) {
  const std::int64_t interval = reader.int_or("full_attention_interval", 4, 1, max_layers);
  const auto types = reader.strings("layer_types");
  if (types && types->size() != config.layers.size())
    reader.refuse("layer_types", "the list does not fit the layers", std::to_string(config.layers.size()) + " entries",
                  std::to_string(types->size()));
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    bool full = (static_cast<std::int64_t>(i) + 1) % interval == 0;
    if (types) {
      full = (*types)[i] == "full_attention";
      if (!full && (*types)[i] != "linear_attention")
        reader.refuse("layer_types", "this kind of layer is not supported", "full_attention or linear_attention",
                      in_quotes((*types)[i]));
    }
    config.layers[i].kind = full ? LayerKind::full : LayerKind::linear;
  }
}

void read_gguf_hybrid(const ConfigReader& reader, ModelConfig& config) {
  const std::int64_t interval = reader.int_or("full_attention_interval", 4, 1, max_layers);
  for (std::size_t i = 0; i < config.layers.size(); ++i)
    config.layers[i].kind = (static_cast<std::int64_t>(i) + 1) % interval == 0 ? LayerKind::full : LayerKind::linear;
}

void add_delta(const FamilyPlan& names, const ModelConfig& config, std::int64_t number, bool fused,
               TensorPlans& layer) {
  const DeltaSpec& delta = config.layer(number).delta;
  const std::string prefix = names.layer_prefix(number);
  const bool gguf = names.gguf();
  const auto name = [&](const char* in_gguf, const char* in_safetensors) {
    return prefix + (gguf ? in_gguf : in_safetensors);
  };
  const std::int64_t width = config.width, key_width = delta.key_heads * delta.key_dim, values = delta.value_heads;
  // Of each key head's rows in the stored tensor those from `first` on, `count` of them.
  const auto by_head = [&](const std::string& tensor, std::int64_t each, std::int64_t first, std::int64_t count) {
    RowBlock block{.tensor = tensor, .rows = delta.key_heads * count, .shape = {delta.key_heads * each, width}};
    for (std::int64_t head = 0; head < delta.key_heads; ++head)
      for (std::int64_t row = 0; row < count; ++row) block.order.push_back(head * each + first + row);
    return block;
  };
  if (fused && !gguf) {
    const std::string tensor = prefix + "linear_attn.in_proj_qkvz.weight";
    const std::int64_t dk = delta.key_dim, own = delta.group() * delta.value_dim, each = 2 * dk + 2 * own;
    layer["delta_qkvz"] = {{by_head(tensor, each, 0, dk), by_head(tensor, each, dk, dk),
                            by_head(tensor, each, 2 * dk, own), by_head(tensor, each, 2 * dk + own, own)},
                           width};
  } else {
    layer["delta_qkvz"] = {{{name("attn_qkv.weight", "linear_attn.in_proj_qkv.weight"), delta.channels()},
                            {name("attn_gate.weight", "linear_attn.in_proj_z.weight"), delta.value_width()}},
                           width};
  }
  if (fused) {
    const std::string tensor = name("ssm_ba.weight", "linear_attn.in_proj_ba.weight");
    layer["delta_rates"] = {{by_head(tensor, 2 * delta.group(), 0, delta.group()),
                             by_head(tensor, 2 * delta.group(), delta.group(), delta.group())},
                            width};
  } else {
    layer["delta_rates"] = {{{name("ssm_beta.weight", "linear_attn.in_proj_b.weight"), values},
                             {name("ssm_alpha.weight", "linear_attn.in_proj_a.weight"), values}},
                            width};
  }
  RowBlock conv{name("ssm_conv1d.weight", "linear_attn.conv1d.weight"), 2 * key_width + delta.value_width()};
  if (!gguf) conv.shape = {conv.rows, 1, delta.kernel};
  layer["delta_conv"] = {{std::move(conv)}, delta.kernel};
  layer["delta_decay"] = {.blocks = {{name("ssm_a", "linear_attn.A_log"), values}}, .minus_exp = !gguf, .typical = gguf ? -1.0f : 0.0f};
  layer["delta_time"] = names.vector(name("ssm_dt.bias", "linear_attn.dt_bias"), values);
  layer["delta_norm"] = names.vector(name("ssm_norm.weight", "linear_attn.norm.weight"), delta.value_dim);
  layer["delta_output"] = {{{name("ssm_out.weight", "linear_attn.out_proj.weight"), width}}, delta.value_width()};
}

}  // namespace headroom::model
