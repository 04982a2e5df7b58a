// SPDX-License-Identifier: Apache-2.0
#include "record/device_json.h"

#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/json_fields.h"

namespace headroom::record {
namespace {

constexpr std::size_t longest_device_name = 1024;
constexpr std::int64_t most_device_bytes = 1LL << 53;
constexpr double most_device_ms = 1e12;

}  // namespace

nlohmann::json to_json(const std::vector<DeviceShare>& shares) {
  nlohmann::json list = nlohmann::json::array();
  for (const DeviceShare& share : shares)
    list.push_back({{"device", share.device},
                    {"first_layer", share.first_layer},
                    {"weight_bytes", share.weight_bytes},
                    {"peak_bytes", share.peak_bytes},
                    {"ms", json_number(share.ms)},
                    {"transfer_ms", json_number(share.transfer_ms)}});
  return list;
}

std::vector<DeviceShare> devices_from_json(const nlohmann::json& list, const std::string& place) {
  std::vector<DeviceShare> shares;
  for (const nlohmann::json& object : list) {
    Fields fields(object, place);
    DeviceShare& share = shares.emplace_back();
    share.device = fields.string("device", longest_device_name);
    share.first_layer = fields.integer("first_layer", 0, 1 << 20);
    share.weight_bytes = fields.integer("weight_bytes", 0, most_device_bytes);
    share.peak_bytes = fields.integer("peak_bytes", 0, most_device_bytes);
    share.ms = fields.number("ms", 0, most_device_ms);
    share.transfer_ms = fields.number_or("transfer_ms", 0, 0, most_device_ms);
  }
  return shares;
}

}  // namespace headroom::record
