// SPDX-License-Identifier: Apache-2.0
#include "model/qwen_config.h"

#include "model/family_config.h"
#include "model/rope_config.h"

namespace headroom::model {

using checkpoint::Checkpoint;
using checkpoint::ConfigReader;
using checkpoint::Format;

void read_qwen_windows(const ConfigReader& reader, ModelConfig& config) {
  const bool slides = reader.bool_or("use_sliding_window", false);
  const std::int64_t given = reader.int_or(
      "sliding_window", reader.checkpoint().holds(reader.key("sliding_window")) == checkpoint::Held::empty ? 0 : 4096,
      1, max_context);
  const std::int64_t window = slides ? given : 0;
  const std::int64_t first = reader.int_or("max_window_layers", 28, 0, 1 << 20);
  if (read_layer_types(reader, window, config)) return;
  for (std::int64_t i = first; i < config.num_layers(); ++i)
    config.layers[static_cast<std::size_t>(i)].attention.window = window;
}

void read_qwen(const Checkpoint& checkpoint, const QwenRules& rules, ModelConfig& config) {
  LayerSpec layer;
  if (checkpoint.format() == Format::gguf) {
    const ConfigReader reader(checkpoint, rules.gguf);
    const std::int64_t num_layers = read_gguf_model(reader, config, layer);
    read_gguf_rope(reader, config, layer.attention);
    reader.refuse_unread({harmless_gguf_keys()});
    config.layers.assign(static_cast<std::size_t>(num_layers), layer);
  } else {
    ConfigReader reader(checkpoint);
    const std::int64_t num_layers = read_config_model(reader,
                                                      {.architecture = rules.architecture,
                                                       .model_types = {rules.model_type},
                                                       .absent = {.kv_heads = 32, .head_dim = rules.absent_head_dim}},
                                                      config, layer);
    read_rope(reader, config, layer.attention);
    reader.must_be("use_mrope", false, "RoPE of several positions a token is not supported");
    config.layers.assign(static_cast<std::size_t>(num_layers), layer);
    read_qwen_windows(reader, config);
    reader.refuse_unread({harmless_config_keys()});
  }
  name_kinds(config);
}

}  // namespace headroom::model
