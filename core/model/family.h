// SPDX-License-Identifier: Apache-2.0
// A family: all that one architecture is, in one file of families/ that defines `Family entry_<file>()`. It reads the
// configuration from a checkpoint's metadata and says which stored tensors make up each part's weights.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/model_config.h"

namespace headroom::model {

/// Rows of a matrix, or places of a vector, that come from one stored tensor. The tensor is read as a matrix of the
/// plan's columns, however many dimensions it has.
struct RowBlock {
  std::string tensor;
  std::int64_t rows = 0;
  /// > 0: the rows of that many heads are stored in pairs, for rotation of adjacent ones or as gate and up in turns,
  /// and are put back by halves: place 2i + j of a head goes to j * d/2 + i.
  std::int64_t interleaved_heads = 0;
  std::vector<std::int64_t> shape = {};  ///< the stored tensor's, where it is not [rows] or [rows, columns]
  std::int64_t first = 0;                ///< stored row that the block begins with
  std::vector<std::int64_t> order = {};  ///< of the stored rows that make up the block; empty: `first` and those after
  bool transposed = false;  ///< the last two of the shape's three dimensions change places: [n, columns, rows / n]
};

/// One tensor of a part: the rows of its blocks, one after the other.
struct TensorPlan {
  std::vector<RowBlock> blocks;
  std::int64_t columns = 0;  ///< 0: a vector [rows]; else a matrix [rows, columns], each row one output feature
  bool plus_one = false;     ///< of a vector: the file holds w where the model computes with 1 + w
  bool minus_exp = false;    ///< of a vector: the file holds w where the model computes with -exp(w)
  float typical = 1;         ///< of a vector: what a model without a file is given (RandomCheckpoint)
};

/// The shape that a block's tensor must have.
std::vector<std::int64_t> stored_shape(const RowBlock& block, std::int64_t columns);

/// The stored tensor's row that comes to row `row` of the block, by order, first row and interleaved heads; of blocks
/// that are not transposed.
std::int64_t stored_row(const RowBlock& block, std::int64_t row);

/// By role, as the parts that take them name them: mixers (mixers/*.cpp), MLPs (mlps/*.cpp) and the decoder itself.
using TensorPlans = std::map<std::string, TensorPlan>;

/// Of the decoder: "mixer_norm", "mlp_norm" (and with NormSpec::after "mixer_after_norm", "mlp_after_norm") a layer;
/// "embedding" [vocabulary, width], "output_norm" and, unless tied, "output" [vocabulary, width] once.
struct ModelPlan {
  TensorPlans ends;
  std::vector<TensorPlans> layers;
};

struct Family {
  std::string_view name;                       ///< ModelConfig::architecture
  std::vector<std::string_view> gguf;          ///< values of general.architecture
  std::vector<std::string_view> transformers;  ///< in config.json's "architectures"
  /// Fills everything but `architecture` and `name`. Throws input errors for what the family does not know: a key that
  /// it does not read is refused, too (checkpoint::ConfigReader::refuse_unread).
  void (*read)(const checkpoint::Checkpoint&, ModelConfig&) = nullptr;
  ModelPlan (*plan)(const checkpoint::Checkpoint&, const ModelConfig&) = nullptr;
  /// Tensors that are in no plan and may be in a file: read() used them, or they are known not to matter. None:
  /// nullptr.
  bool (*stands_beside)(const ModelConfig&, std::string_view tensor) = nullptr;
};

/// All that are supported.
std::vector<Family> families();

/// By ModelConfig::architecture. Throws an input error that lists the known ones.
Family find_family(const std::string& name, const std::string& place);

}  // namespace headroom::model
