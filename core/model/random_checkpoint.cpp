// SPDX-License-Identifier: Apache-2.0
#include "model/random_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>

#include "base/error.h"
#include "base/sha256.h"

namespace headroom::model {

RandomCheckpoint::RandomCheckpoint(const ModelConfig& config, std::uint64_t seed)
    : RandomCheckpoint(config, find_family(config.architecture, config.name), seed) {}

RandomCheckpoint::RandomCheckpoint(const ModelConfig& config, const Family& family, std::uint64_t seed)
    : path_(config.name), seed_(seed) {
  std::set<std::string_view> names;
  const auto add = [&](const TensorPlans& plans) {
    for (const auto& [role, plan] : plans) {
      for (const RowBlock& block : plan.blocks) {
        if (!names.insert(block.tensor).second) continue;  // several blocks of one tensor
        checkpoint::TensorInfo info{block.tensor, stored_shape(block, plan.columns)};
        info.bytes = static_cast<std::uint64_t>(info.elements()) * 4;
        if (plan.columns == 0) typical_[info.name] = plan.typical;
        tensors_.push_back(std::move(info));
      }
    }
  };
  const ModelPlan plan = family.plan(*this, config);
  add(plan.ends);
  for (const TensorPlans& layer : plan.layers) add(layer);
  Sha256 hash;
  const auto say = [&](const std::string& text) {
    hash.add({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  };
  say("random weights of " + config.name + ", seed " + std::to_string(seed));
  for (const checkpoint::TensorInfo& tensor : tensors_) {
    say("\n" + tensor.name);
    for (const std::int64_t size : tensor.shape) say(" " + std::to_string(size));
  }
  hash_ = hash.hex();
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
  std::uint64_t key = seed_ * 0x9e3779b97f4a7c15ull + 1;
  for (const char letter : name) key = (key ^ static_cast<unsigned char>(letter)) * 0x100000001b3ull;
  return key;
}

void RandomCheckpoint::read_part(std::string_view name, std::int64_t first, std::span<float> out) const {
  const auto* info = find(name);
  if (!info || first < 0 || static_cast<std::int64_t>(out.size()) > info->elements() - first)
    throw input_error(path_.string(), "no tensor " + std::string(name) + " of that size");
  if (const auto typical = typical_.find(name); typical != typical_.end()) {  // a vector
    std::fill(out.begin(), out.end(), typical->second);
    return;
  }
  // Any value can be made without those before it: splitmix64 (Steele, Lea, Flood 2014) of its place.
  const float scale = static_cast<float>(bound(info->shape.back())) / 8388608.0f;
  std::uint64_t state = seed_of(name) + static_cast<std::uint64_t>(first) * 0x9e3779b97f4a7c15ull;
  for (float& value : out) {
    std::uint64_t bits = state += 0x9e3779b97f4a7c15ull;
    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9ull;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111ebull;
    value = static_cast<float>(static_cast<std::int64_t>(bits >> 40) - 8388608) * scale;
  }
}

}  // namespace headroom::model
