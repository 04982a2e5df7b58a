// SPDX-License-Identifier: Apache-2.0
// RoPE as checkpoints describe it: base, scaling (linear, Llama 3's, YaRN), rotated part of a head. Other kinds of
// scaling ("dynamic", "longrope", …) depend on the prompt's length or on lists that are not read: refused by name.
#pragma once

#include <cstdint>
#include <string>

#include "checkpoint/config_reader.h"
#include "model/model_config.h"

namespace headroom::model {

/// Frequency `i` of `dims` / 2 before any scaling: base^(-2i/dims), in fp32 as transformers rounds it.
float rope_frequency(double base, std::int64_t dims, std::int64_t i);

/// Where config.json has RoPE. transformers 5 keeps base and scaling together, before they were apart.
struct RopeKeys {
  std::string parameters = "rope_parameters";  ///< an object: "rope_theta", "rope_type", "factor", …
  std::string scaling = "rope_scaling";        ///< the old object; empty: none
  std::string base = "rope_theta";             ///< the old key; empty: none
  double absent_base = 10000;                  ///< what no key at all stands for
  bool partial = false;                        ///< whether "partial_rotary_factor" may be another than 1
  double absent_part = 1;                      ///< of a head, where no key says
};
/// Needs head_dim and config.context_length. Sets attention.rope.
void read_rope(const checkpoint::ConfigReader& reader, const ModelConfig& config, AttentionSpec& attention,
               const RopeKeys& keys = {});

/// "rope.freq_base", "rope.scaling.…" and the tensor of factors that Llama-3 scaling arrives as; both together
/// multiply, as in llama.cpp. Where no type is named a factor means linear, and 0 stands for 1.
/// `whole_bounds`: the bounds of YaRN's mixture are rounded to whole dimensions, which the file does not say.
void read_gguf_rope(const checkpoint::ConfigReader& reader, const ModelConfig& config, AttentionSpec& attention,
                    bool whole_bounds = true);

}  // namespace headroom::model
