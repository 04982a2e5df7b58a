// SPDX-License-Identifier: Apache-2.0
// What a decoder needs to know of an architecture, read from any checkpoint's metadata.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace headroom::checkpoint {

enum class LayerKind { full, sliding, linear };
std::string_view to_string(LayerKind kind);

struct ModelConfig {
  std::string architecture;  ///< "llama", "qwen2", …
  std::string name;          ///< the file's stem or the folder's name
  std::int64_t num_layers = 0;
  std::vector<LayerKind> layers;  ///< num_layers long
  std::int64_t width = 0;         ///< hidden size
  std::int64_t num_q_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t mlp_width = 0;
  std::int64_t vocabulary = 0;
  std::int64_t context_length = 0;
  double rms_epsilon = 1e-5;
  double rope_base = 10000;
  /// Per rotation frequency, head_dim / 2 values: base^(-2i/d) is divided by factor i (linear or Llama-3 scaling).
  /// Empty: no scaling.
  std::vector<double> rope_factors;
  bool tied_output = false;
  /// GGUF stores Llama's q and k rows permuted for rotation of adjacent pairs (CHECKPOINTS.md).
  bool rope_adjacent_pairs = false;
};

/// An architecture is one file in architectures/ (architecture.h). Throws input errors that name the key, what was
/// expected and what was found; every size is range-checked.
ModelConfig read_model_config(const Checkpoint& checkpoint);

}  // namespace headroom::checkpoint
