// SPDX-License-Identifier: Apache-2.0
#include "model/random_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/error.h"

namespace headroom::model {

RandomCheckpoint::RandomCheckpoint(const ModelConfig& config, std::uint64_t seed)
    : RandomCheckpoint(config, find_family(config.architecture, config.name), seed) {}

RandomCheckpoint::RandomCheckpoint(const ModelConfig& config, const Family& family, std::uint64_t seed)
    : path_(config.name), seed_(seed) {
  const auto add = [&](const TensorPlans& plans) {
    for (const auto& [role, plan] : plans) {
      for (const RowBlock& block : plan.blocks) {
        checkpoint::TensorInfo info{block.tensor, {block.rows}};
        if (plan.columns > 0) info.shape.push_back(plan.columns);
        info.bytes = static_cast<std::uint64_t>(info.elements()) * 4;
        if (plan.columns == 0) typical_[info.name] = plan.typical;
        tensors_.push_back(std::move(info));
      }
    }
  };
  const ModelPlan plan = family.plan(*this, config);
  add(plan.ends);
  for (const TensorPlans& layer : plan.layers) add(layer);
}

const checkpoint::TensorInfo* RandomCheckpoint::find(std::string_view name) const {
  const auto found =
      std::find_if(tensors_.begin(), tensors_.end(), [&](const auto& tensor) { return tensor.name == name; });
  return found == tensors_.end() ? nullptr : &*found;
}

// A uniform value in [-1, 1) has a standard deviation of 1 / sqrt(3).
double RandomCheckpoint::bound(std::int64_t columns) {
  return static_cast<double>(std::sqrt(3.0f / static_cast<float>(columns)));
}

std::uint64_t RandomCheckpoint::seed_of(std::string_view name) const {
  return seed_ * 0x9e3779b97f4a7c15ull + std::hash<std::string_view>{}(name) + 1;
}

void RandomCheckpoint::read_f32(std::string_view name, std::span<float> out) const {
  const auto* info = find(name);
  if (!info || static_cast<std::int64_t>(out.size()) != info->elements())
    throw input_error(path_.string(), "no tensor " + std::string(name) + " of that size");
  if (info->shape.size() == 1) {
    std::fill(out.begin(), out.end(), typical_.at(info->name));
    return;
  }
  const float scale = static_cast<float>(bound(info->shape[1])) / 8388608.0f;
  std::uint64_t state = seed_of(name);
  for (float& value : out) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    value = static_cast<float>(static_cast<std::int64_t>(state >> 40) - 8388608) * scale;
  }
}

}  // namespace headroom::model
