// SPDX-License-Identifier: Apache-2.0
// What Qwen's dense families share: keys, defaults, and windows from a layer on.
#pragma once

#include <string>
#include <string_view>

#include "checkpoint/config_reader.h"
#include "model/model_config.h"

namespace headroom::model {

struct QwenRules {
  std::string gguf;  ///< prefix of GGUF's keys
  std::string_view architecture, model_type;
  std::int64_t absent_head_dim = 0;  ///< what transformers takes where config.json has no head_dim; 0: width / heads
};

/// Fills `config`, kinds included. Throws input errors.
void read_qwen(const checkpoint::Checkpoint& checkpoint, const QwenRules& rules, ModelConfig& config);

/// Windows of config.json: "layer_types", else from layer "max_window_layers" on, and only where "use_sliding_window"
/// is true.
void read_qwen_windows(const checkpoint::ConfigReader& reader, ModelConfig& config);

}  // namespace headroom::model
