// SPDX-License-Identifier: Apache-2.0
// What an architecture adds to the decoder: which stored tensors make up which of its matrices. One arch_*.cpp file
// each; CMake lists them, so that a new architecture is one new file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/model_config.h"

namespace headroom::model {

/// Rows of a matrix that come from one stored tensor.
struct RowBlock {
  std::string tensor;
  std::int64_t rows = 0;
  /// > 0: the rows of that many heads are stored for rotation of adjacent pairs and are put back in the order of
  /// rotation by halves: place 2i + j of a head goes to j * d/2 + i.
  std::int64_t interleaved_heads = 0;
};

/// [sum of rows, columns], each row one output feature; projections that read the same input are one matrix.
struct MatrixPlan {
  std::vector<RowBlock> blocks;
  std::int64_t columns = 0;
};

struct LayerPlan {
  std::string attention_norm;  ///< [width]
  MatrixPlan qkv;              ///< q heads, k heads, v heads, in this order
  MatrixPlan attention_output;
  std::string mlp_norm;  ///< [width]
  MatrixPlan gate_up;    ///< gate, then up
  MatrixPlan down;
};

/// A pre-norm decoder: x += o(attention(norm(x))); x += down(silu(gate(norm(x))) * up(norm(x))).
struct ModelPlan {
  MatrixPlan embedding;  ///< [vocabulary, width]
  std::string output_norm;
  std::optional<MatrixPlan> output;  ///< none: tied to the embedding
  std::vector<LayerPlan> layers;
  std::vector<float> rope_divisors;  ///< [d/2] by which RoPE's frequencies are divided; empty: 1
};

struct Architecture {
  std::string_view name;  ///< as ModelConfig::architecture has it
  ModelPlan (*plan)(const checkpoint::Checkpoint&, const checkpoint::ModelConfig&);
};

/// Throws an input error that lists the known ones.
const Architecture& find_architecture(const std::string& name, const std::string& place);

}  // namespace headroom::model
