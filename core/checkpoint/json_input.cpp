// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/json_input.h"

#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "checkpoint/metadata.h"

namespace headroom::checkpoint {

nlohmann::json parse_json_object(std::string_view text, const std::string& place, int max_depth) {
  using Event = nlohmann::json::parse_event_t;
  std::vector<std::unordered_set<std::string>> keys;
  const auto check = [&](int depth, Event event, nlohmann::json& parsed) {
    if (depth > max_depth) {
      throw input_error(place, "the JSON is nested too deeply", "at most " + std::to_string(max_depth) + " levels",
                        "more");
    }
    if (event == Event::object_start) keys.emplace_back();
    if (event == Event::object_end) keys.pop_back();
    if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second)
      throw input_error(place, "a key appears twice", "each key once", in_quotes(parsed.get<std::string>()));
    return true;
  };
  nlohmann::json json;
  try {
    json = nlohmann::json::parse(text.begin(), text.end(), check);
  } catch (const nlohmann::json::parse_error& error) {
    throw input_error(place + ": byte " + std::to_string(error.byte), "this is not valid JSON");
  } catch (const nlohmann::json::exception&) {  // e.g. a number out of range
    throw input_error(place, "this is not valid JSON");
  }
  if (!json.is_object()) throw input_error(place, "the JSON is not what it should be", "an object", json.type_name());
  return json;
}

}  // namespace headroom::checkpoint
