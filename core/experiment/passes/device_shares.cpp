// SPDX-License-Identifier: Apache-2.0
#include "experiment/passes/device_shares.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace headroom::experiment {
namespace {

constexpr auto crossing = static_cast<std::size_t>(Stage::transfer);

/// Milliseconds of one pass: at work, and the way to the part.
struct PartTimes {
  double work = 0, transfer = 0;
};

std::vector<PartTimes> times_of(const StageTimes& stages, const model::DeviceParts& parts) {
  std::vector<PartTimes> times(parts.size());
  auto outside = stages.total;  // what belongs to no layer: embedding, output, the way back to the first device
  std::size_t part = 0;
  for (std::size_t layer = 0; layer < stages.layers.size(); ++layer) {
    if (part + 1 < parts.size() && parts[part + 1].first_layer == static_cast<std::int64_t>(layer)) ++part;
    for (std::size_t stage = 0; stage < num_stages; ++stage) {
      const double ms = stages.layers[layer][stage];
      (stage == crossing ? times[part].transfer : times[part].work) += ms;
      outside[stage] -= ms;
    }
  }
  for (std::size_t stage = 0; stage < num_stages; ++stage)  // a difference may be a rounding below 0
    (stage == crossing ? times[0].transfer : times[0].work) += std::max(0.0, outside[stage]);
  return times;
}

}  // namespace

std::vector<record::DeviceShare> device_shares(const model::DeviceParts& parts,
                                               std::span<const std::int64_t> weight_bytes,
                                               std::span<const std::int64_t> peak_bytes,
                                               const std::vector<TimedPass>& passes) {
  if (parts.size() < 2) return {};
  std::vector<std::vector<PartTimes>> times;
  for (const TimedPass& pass : passes) times.push_back(times_of(pass.stages, parts));
  const auto median = [&](auto&& value) {
    std::vector<double> samples;
    for (const auto& pass : times) samples.push_back(value(pass));
    return quartiles(std::move(samples)).median;
  };
  const auto devices = model::devices_of(parts);
  std::vector<record::DeviceShare> shares;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto device = std::find(devices.begin(), devices.end(), parts[i].device) - devices.begin();
    shares.push_back({parts[i].device.str(), parts[i].first_layer, weight_bytes[i],
                      peak_bytes[static_cast<std::size_t>(device)],
                      median([i](const auto& pass) { return pass[i].work; }),
                      median([i](const auto& pass) { return pass[i].transfer; })});
  }
  return shares;
}

std::string device_line(double transfer_ms, const std::vector<record::DeviceShare>& shares) {
  if (shares.empty()) return {};
  char number[64];
  const auto ms = [&](double value) {
    std::snprintf(number, sizeof number, value < 100 ? "%.1f ms" : "%.0f ms", value);
    return std::string(number);
  };
  std::string line = "between devices " + ms(transfer_ms);
  for (const record::DeviceShare& share : shares) {
    line += "; " + share.device + " from layer " + std::to_string(share.first_layer) + " " + ms(share.ms);
    std::snprintf(number, sizeof number, ", peak %.1f GB", static_cast<double>(share.peak_bytes) / 1e9);
    line += number;
  }
  return line;
}

}  // namespace headroom::experiment
