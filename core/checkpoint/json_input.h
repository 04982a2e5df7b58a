// SPDX-License-Identifier: Apache-2.0
// JSON from files that nobody vouches for: nesting and duplicates are checked while parsing.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace headroom::checkpoint {

/// Throws input errors (not JSON, not an object, deeper than `max_depth`, a key twice in one object) naming `place`.
nlohmann::json parse_json_object(std::string_view text, const std::string& place, int max_depth);

}  // namespace headroom::checkpoint
