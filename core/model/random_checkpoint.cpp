// SPDX-License-Identifier: Apache-2.0
#include "model/random_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/error.h"
#include "model/architecture.h"

namespace headroom::model {

RandomCheckpoint::RandomCheckpoint(const checkpoint::ModelConfig& config, std::uint64_t seed)
    : path_(config.name), seed_(seed) {
  const ModelPlan plan = find_architecture(config.architecture, config.name).plan(*this, config);
  const auto norm = [&](const std::string& name) { tensors_.push_back({name, {config.width}}); };
  const auto matrix = [&](const MatrixPlan& made) {
    for (const RowBlock& block : made.blocks) tensors_.push_back({block.tensor, {block.rows, made.columns}});
  };
  matrix(plan.embedding);
  norm(plan.output_norm);
  if (plan.output) matrix(*plan.output);
  for (const LayerPlan& layer : plan.layers) {
    norm(layer.attention_norm);
    norm(layer.mlp_norm);
    for (const MatrixPlan* part : {&layer.qkv, &layer.attention_output, &layer.gate_up, &layer.down}) matrix(*part);
  }
  for (checkpoint::TensorInfo& tensor : tensors_) tensor.bytes = static_cast<std::uint64_t>(tensor.elements()) * 4;
}

const checkpoint::TensorInfo* RandomCheckpoint::find(std::string_view name) const {
  const auto found =
      std::find_if(tensors_.begin(), tensors_.end(), [&](const auto& tensor) { return tensor.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

void RandomCheckpoint::read_f32(std::string_view name, std::span<float> out) const {
  const auto* info = find(name);
  if (!info || static_cast<std::int64_t>(out.size()) != info->elements())
    throw input_error(path_.string(), "no tensor " + std::string(name) + " of that size");
  if (info->shape.size() == 1) {
    std::fill(out.begin(), out.end(), 1.0f);
    return;
  }
  // A uniform value in [-1, 1) has a standard deviation of 1 / sqrt(3).
  const float scale = std::sqrt(3.0f / static_cast<float>(info->shape[1])) / 8388608.0f;
  std::uint64_t state = seed_ * 0x9e3779b97f4a7c15ull + std::hash<std::string_view>{}(name) + 1;
  for (float& value : out) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    value = static_cast<float>(static_cast<std::int64_t>(state >> 40) - 8388608) * scale;
  }
}

}  // namespace headroom::model
