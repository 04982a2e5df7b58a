// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/json_input.h"

#include "base/error.h"
#include "base/json_build.h"
#include "checkpoint/metadata.h"

namespace headroom::checkpoint {

nlohmann::json parse_json_object(std::string_view text, const std::string& place, int max_depth) {
  JsonChecks checks;
  checks.value = [&](int depth) {
    if (depth > max_depth)
      throw input_error(place, "the JSON is nested too deeply", "at most " + std::to_string(max_depth) + " levels",
                        "more");
  };
  checks.key = [&](int depth, const std::string& key, const nlohmann::json& object) {
    checks.value(depth);
    if (object.contains(key)) throw input_error(place, "a key appears twice", "each key once", in_quotes(key));
  };
  nlohmann::json json;
  try {
    json = build_json(text, checks);
  } catch (const nlohmann::json::parse_error& error) {
    throw input_error(place + ": byte " + std::to_string(error.byte), "this is not valid JSON");
  } catch (const nlohmann::json::exception&) {  // e.g. a number out of range
    throw input_error(place, "this is not valid JSON");
  }
  if (!json.is_object()) throw input_error(place, "the JSON is not what it should be", "an object", json.type_name());
  return json;
}

}  // namespace headroom::checkpoint
