// SPDX-License-Identifier: Apache-2.0
// What --device says, as text.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace headroom {

struct DeviceRequest {
  enum class Kind { automatic, cpu, gpus, all_gpus };
  Kind kind = Kind::automatic;
  std::vector<int> gpus;  ///< of Kind::gpus: not empty, each once, 0 to 127
};

inline constexpr std::string_view device_request_forms = "auto, cpu, cuda, cuda:i, cuda:i,cuda:j,… or cuda:all";

/// Nothing where the text has none of these forms.
std::optional<DeviceRequest> parse_device_request(std::string_view text);

}  // namespace headroom
