// SPDX-License-Identifier: Apache-2.0
#include "base/device_request.h"

#include <algorithm>
#include <charconv>

namespace headroom {

std::optional<DeviceRequest> parse_device_request(std::string_view text) {
  using Kind = DeviceRequest::Kind;
  if (text == "auto") return DeviceRequest{Kind::automatic, {}};
  if (text == "cpu") return DeviceRequest{Kind::cpu, {}};
  if (text == "cuda") return DeviceRequest{Kind::gpus, {0}};
  if (text == "cuda:all") return DeviceRequest{Kind::all_gpus, {}};
  DeviceRequest request{Kind::gpus, {}};
  for (bool more = true; more;) {
    const auto comma = text.find(',');
    std::string_view one = text.substr(0, comma);
    more = comma != std::string_view::npos;
    if (more) text.remove_prefix(comma + 1);
    if (!one.starts_with("cuda:")) return std::nullopt;
    one.remove_prefix(5);
    int index = -1;
    const auto [end, status] = std::from_chars(one.data(), one.data() + one.size(), index);
    // c10 keeps device indices in eight bits.
    if (status != std::errc() || end != one.data() + one.size() || one.front() == '-' || index > 127 ||
        std::find(request.gpus.begin(), request.gpus.end(), index) != request.gpus.end())
      return std::nullopt;
    request.gpus.push_back(index);
  }
  return request;
}

}  // namespace headroom
