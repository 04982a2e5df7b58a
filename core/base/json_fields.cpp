// SPDX-License-Identifier: Apache-2.0
#include "base/json_fields.h"

#include <cmath>
#include <limits>

#include "base/json_build.h"

namespace headroom {
namespace {

constexpr std::int64_t max_values = 4'000'000;

std::string range_text(double lowest, double highest) {
  return "a number from " + nlohmann::json(lowest).dump() + " to " + nlohmann::json(highest).dump();
}

std::string range_text(std::int64_t lowest, std::int64_t highest) {
  if (highest == std::numeric_limits<std::int64_t>::max())
    return "a whole number of at least " + std::to_string(lowest);
  return "a whole number from " + std::to_string(lowest) + " to " + std::to_string(highest);
}

/// nullopt where the value is not a whole number that fits.
std::optional<std::int64_t> whole(const nlohmann::json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
    return static_cast<std::int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  return std::nullopt;
}

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& place, int max_depth) {
  std::int64_t values = 0;
  const auto is_shallow = [&](int depth) {
    if (depth > max_depth)
      throw input_error(place, "JSON is nested too deeply", "at most " + std::to_string(max_depth) + " levels", "more");
  };
  JsonChecks limits;
  limits.key = [&](int depth, const std::string&, const nlohmann::json&) { is_shallow(depth); };
  limits.value = [&](int depth) {
    is_shallow(depth);
    if (++values > max_values) throw input_error(place, "JSON is too large", "at most 4000000 values", "more");
  };
  try {
    return build_json(text, limits);
  } catch (const nlohmann::json::parse_error& error) {
    throw input_error(place, "is not valid JSON", "a JSON value", "an error at byte " + std::to_string(error.byte));
  } catch (const nlohmann::json::exception& error) {
    throw input_error(place, "is not valid JSON", "a JSON value", error.what());
  }
}

std::string dump_json(const nlohmann::json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

nlohmann::json json_number(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

nlohmann::json json_number(const std::optional<double>& value) {
  return value ? json_number(*value) : nlohmann::json(nullptr);
}

nlohmann::json json_numbers(const std::vector<double>& values) {
  auto list = nlohmann::json::array();
  for (const double value : values) list.push_back(json_number(value));
  return list;
}

std::string describe(const nlohmann::json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list of " + std::to_string(value.size()) + " values";
  if (value.is_null()) return "nothing";
  std::string text = dump_json(value);
  if (text.size() > 60) text = "a text of " + std::to_string(text.size() - 2) + " bytes";
  return text;
}

Fields::Fields(const nlohmann::json& json, std::string place, ErrorKind kind)
    : json_(json), place_(std::move(place)), kind_(kind) {
  if (!json.is_object()) throw Error(kind_, "must be an object", {place_, "a JSON object", describe(json)});
}

void Fields::fail(const char* name, const std::string& expected, const std::string& found) const {
  throw Error(kind_, "field \"" + std::string(name) + "\" is not valid", {place_, expected, found});
}

bool Fields::has(const char* name) {
  known_.insert(name);
  const auto found = json_.find(name);
  return found != json_.end() && !found->is_null();
}

const nlohmann::json& Fields::at(const char* name) {
  known_.insert(name);
  const auto found = json_.find(name);
  if (found == json_.end()) throw Error(kind_, "field \"" + std::string(name) + "\" is missing", {place_, {}, {}});
  return *found;
}

std::string Fields::string(const char* name, std::size_t max_bytes) {
  const auto& value = at(name);
  if (!value.is_string()) fail(name, "a text", describe(value));
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > max_bytes) {
    fail(name, "a text of at most " + std::to_string(max_bytes) + " bytes", std::to_string(text.size()) + " bytes");
  }
  return text;
}

std::int64_t Fields::integer(const char* name, std::int64_t lowest, std::int64_t highest) {
  const auto& value = at(name);
  const auto number = whole(value);
  if (!number || *number < lowest || *number > highest) fail(name, range_text(lowest, highest), describe(value));
  return *number;
}

std::uint64_t Fields::unsigned_integer(const char* name) {
  const auto& value = at(name);
  if (!value.is_number_unsigned()) fail(name, "a whole number of at least 0", describe(value));
  return value.get<std::uint64_t>();
}

double Fields::number(const char* name, double lowest, double highest) {
  const auto& value = at(name);
  if (!value.is_number()) fail(name, range_text(lowest, highest), describe(value));
  const double number = value.get<double>();
  if (!(number >= lowest && number <= highest)) fail(name, range_text(lowest, highest), describe(value));
  return number;
}

bool Fields::boolean(const char* name) {
  const auto& value = at(name);
  if (!value.is_boolean()) fail(name, "true or false", describe(value));
  return value.get<bool>();
}

const nlohmann::json& Fields::object(const char* name) {
  const auto& value = at(name);
  if (!value.is_object()) fail(name, "an object", describe(value));
  return value;
}

const nlohmann::json& Fields::array(const char* name, std::size_t max_size) {
  const auto& value = at(name);
  if (!value.is_array()) fail(name, "a list", describe(value));
  if (value.size() > max_size) fail(name, "at most " + std::to_string(max_size) + " values", describe(value));
  return value;
}

std::vector<std::string> Fields::strings(const char* name, std::size_t max_size, std::size_t max_bytes) {
  std::vector<std::string> texts;
  for (const auto& value : array(name, max_size)) {
    if (!value.is_string()) fail(name, "a list of texts", describe(value));
    const auto& text = value.get_ref<const std::string&>();
    if (text.size() > max_bytes)
      fail(name, "texts of at most " + std::to_string(max_bytes) + " bytes", describe(value));
    texts.push_back(text);
  }
  return texts;
}

std::vector<std::int64_t> Fields::integers(const char* name, std::size_t max_size, std::int64_t lowest,
                                           std::int64_t highest) {
  std::vector<std::int64_t> numbers;
  for (const auto& value : array(name, max_size)) {
    const auto number = whole(value);
    if (!number || *number < lowest || *number > highest) fail(name, range_text(lowest, highest), describe(value));
    numbers.push_back(*number);
  }
  return numbers;
}

std::vector<double> Fields::numbers(const char* name, std::size_t max_size) {
  std::vector<double> numbers;
  for (const auto& value : array(name, max_size)) {
    if (!value.is_number() && !value.is_null()) fail(name, "a list of numbers", describe(value));
    numbers.push_back(value.is_null() ? std::nan("") : value.get<double>());
  }
  return numbers;
}

std::string Fields::string_or(const char* name, std::string fallback, std::size_t max_bytes) {
  return has(name) ? string(name, max_bytes) : std::move(fallback);
}

std::int64_t Fields::integer_or(const char* name, std::int64_t fallback, std::int64_t lowest, std::int64_t highest) {
  return has(name) ? integer(name, lowest, highest) : fallback;
}

double Fields::number_or(const char* name, double fallback, double lowest, double highest) {
  return has(name) ? number(name, lowest, highest) : fallback;
}

bool Fields::boolean_or(const char* name, bool fallback) {
  return has(name) ? boolean(name) : fallback;
}

std::optional<std::string> Fields::optional_string(const char* name, std::size_t max_bytes) {
  if (!has(name)) return std::nullopt;
  return string(name, max_bytes);
}

std::optional<double> Fields::optional_number(const char* name, double lowest, double highest) {
  if (!has(name)) return std::nullopt;
  return number(name, lowest, highest);
}

void Fields::refuse_unknown() const {
  for (const auto& [name, value] : json_.items()) {
    if (known_.contains(name)) continue;
    std::string expected;
    for (const auto& known : known_) expected += (expected.empty() ? "one of " : ", ") + known;
    throw Error(kind_, "unknown field", {place_, expected, "\"" + name.substr(0, 60) + "\""});
  }
}

}  // namespace headroom
