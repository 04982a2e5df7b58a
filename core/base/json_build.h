// SPDX-License-Identifier: Apache-2.0
// JSON from text that is not trusted, in time in proportion to the text: the library's own way to look at values while
// they are read goes, after each object, through all that stand before it.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace headroom {

/// What is asked before something is taken; to refuse it, throw. `depth`: the objects and lists around it.
struct JsonChecks {
  std::function<void(int depth)> value = {};  ///< a value, or the beginning of an object or a list
  std::function<void(int depth, const std::string& key, const nlohmann::json& object)> key = {};
};

/// Throws what json::parse throws, and what the checks throw. Of a key that comes twice the last value counts.
nlohmann::json build_json(std::string_view text, const JsonChecks& checks);

}  // namespace headroom
