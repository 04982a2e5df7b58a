// SPDX-License-Identifier: Apache-2.0
// Where a decoder's layers live where there are several devices: parts of neighbouring layers, one for each device in
// order, sized by what each has free. Hidden states cross at the borders; embedding and output stay on the first.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <vector>

#include "model/family.h"

namespace headroom::model {

/// Layers from `first_layer` to the next part's.
struct DevicePart {
  c10::Device device = c10::Device(c10::DeviceType::CPU);
  std::int64_t first_layer = 0;
  bool operator==(const DevicePart&) const = default;
};
using DeviceParts = std::vector<DevicePart>;  ///< not empty; the first begins at layer 0

inline DeviceParts on_one_device(c10::Device device) { return {{device, 0}}; }
/// Each device once, in order.
std::vector<c10::Device> devices_of(const DeviceParts& parts);

/// What lies in a decoder of this plan, in bytes.
struct PlacedBytes {
  std::int64_t ends = 0;             ///< embedding, output
  std::vector<std::int64_t> layers;  ///< each layer's
};
PlacedBytes weight_bytes(const ModelPlan& plan, c10::ScalarType dtype);

/// The parts that fill the devices most evenly: the largest share of its `free` bytes that any device gives is as small
/// as it can be. `needed.ends` lies on the first device; `each` is needed on every one that has layers. Every device gets
/// at least one layer; none is left out. Empty where that does not fit, or where there are fewer layers than devices.
DeviceParts place_layers(const PlacedBytes& needed, std::int64_t each, const std::vector<c10::Device>& devices,
                         const std::vector<std::int64_t>& free);

}  // namespace headroom::model
