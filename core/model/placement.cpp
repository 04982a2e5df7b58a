// SPDX-License-Identifier: Apache-2.0
#include "model/placement.h"

#include <algorithm>
#include <limits>

namespace headroom::model {

std::vector<c10::Device> devices_of(const DeviceParts& parts) {
  std::vector<c10::Device> devices;
  for (const DevicePart& part : parts)
    if (std::find(devices.begin(), devices.end(), part.device) == devices.end()) devices.push_back(part.device);
  return devices;
}

PlacedBytes weight_bytes(const ModelPlan& plan, c10::ScalarType dtype) {
  const std::int64_t element = dtype == c10::ScalarType::BFloat16 ? 2 : 4;
  const auto bytes = [&](const auto& tensors) {
    std::int64_t sum = 0;
    for (const auto& [role, tensor] : tensors) {
      std::int64_t rows = 0;
      for (const RowBlock& block : tensor.blocks) rows += block.rows;
      sum += rows * std::max<std::int64_t>(1, tensor.columns) * element;
    }
    return sum;
  };
  PlacedBytes result{bytes(plan.ends), {}};
  for (const auto& layer : plan.layers) result.layers.push_back(bytes(layer));
  return result;
}

DeviceParts place_layers(const PlacedBytes& needed, std::int64_t each, const std::vector<c10::Device>& devices,
                         const std::vector<std::int64_t>& free) {
  const std::size_t layers = needed.layers.size(), count = devices.size();
  if (count == 0 || layers < count || free.size() != count) return {};
  std::vector<std::int64_t> sums(layers + 1);  // bytes of the layers before
  for (std::size_t i = 0; i < layers; ++i) sums[i + 1] = sums[i] + needed.layers[i];
  constexpr double never = std::numeric_limits<double>::infinity();
  // share[d][n]: the least largest share with which the first d + 1 devices hold the first n layers; from[d][n]: where
  // the last of them begins.
  std::vector share(count, std::vector(layers + 1, never));
  std::vector from(count, std::vector<std::size_t>(layers + 1));
  const auto own = [&](std::size_t device, std::size_t first, std::size_t end) {
    const std::int64_t bytes = sums[end] - sums[first] + each + (device == 0 ? needed.ends : 0);
    return free[device] > 0 ? static_cast<double>(bytes) / static_cast<double>(free[device]) : never;
  };
  for (std::size_t end = 1; end <= layers; ++end) share[0][end] = own(0, 0, end);
  for (std::size_t device = 1; device < count; ++device)
    for (std::size_t end = device + 1; end <= layers; ++end)
      for (std::size_t first = device; first < end; ++first)
        if (const double worst = std::max(share[device - 1][first], own(device, first, end)); worst < share[device][end]) {
          share[device][end] = worst;
          from[device][end] = first;
        }
  if (share[count - 1][layers] > 1) return {};
  DeviceParts parts(count);
  for (std::size_t device = count, end = layers; device-- > 0;) {
    end = device == 0 ? 0 : from[device][end];
    parts[device] = {devices[device], static_cast<std::int64_t>(end)};
  }
  return parts;
}

}  // namespace headroom::model
