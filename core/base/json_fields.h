// SPDX-License-Identifier: Apache-2.0
// Reads the fields of an untrusted JSON object: type, size and range first; errors name the field, what was expected
// and what was found.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace headroom {

/// Parses text with limits on depth and number of values (4 million), so that hostile text cannot exhaust the stack or
/// memory. Throws input errors at `place`.
nlohmann::json parse_json(std::string_view text, const std::string& place, int max_depth = 64);
/// One line; bytes that are not UTF-8 become U+FFFD.
std::string dump_json(const nlohmann::json& json);

class Fields {
 public:
  static constexpr std::size_t short_text = 4096;
  static constexpr std::size_t long_text = 32u << 20;

  /// `place` stands before each field's name in errors. Throws where `json` is not an object. Keeps a reference.
  Fields(const nlohmann::json& json, std::string place, ErrorKind kind = ErrorKind::input);
  Fields(nlohmann::json&&, std::string, ErrorKind = ErrorKind::input) = delete;

  /// Whether the field is there and not null.
  bool has(const char* name);

  // Required fields.
  std::string string(const char* name, std::size_t max_bytes = short_text);
  std::int64_t integer(const char* name, std::int64_t lowest, std::int64_t highest);
  std::uint64_t unsigned_integer(const char* name);
  double number(const char* name, double lowest, double highest);
  bool boolean(const char* name);
  const nlohmann::json& object(const char* name);
  const nlohmann::json& array(const char* name, std::size_t max_values);
  std::vector<std::string> strings(const char* name, std::size_t max_values, std::size_t max_bytes = short_text);
  std::vector<std::int64_t> integers(const char* name, std::size_t max_values, std::int64_t lowest,
                                     std::int64_t highest);
  std::vector<double> numbers(const char* name, std::size_t max_values);  ///< null becomes NaN

  // Absent or null: `fallback`.
  std::string string_or(const char* name, std::string fallback, std::size_t max_bytes = short_text);
  std::int64_t integer_or(const char* name, std::int64_t fallback, std::int64_t lowest, std::int64_t highest);
  double number_or(const char* name, double fallback, double lowest, double highest);
  bool boolean_or(const char* name, bool fallback);
  std::optional<std::string> optional_string(const char* name, std::size_t max_bytes = short_text);
  std::optional<double> optional_number(const char* name, double lowest, double highest);

  /// Throws where the object has a field that was not asked for.
  void refuse_unknown() const;
  [[noreturn]] void fail(const char* name, const std::string& expected, const std::string& found) const;

 private:
  const nlohmann::json& at(const char* name);

  const nlohmann::json& json_;
  std::string place_;
  ErrorKind kind_;
  std::set<std::string, std::less<>> known_;
};

/// null for what is not finite: JSON has no NaN.
nlohmann::json json_number(double value);
nlohmann::json json_number(const std::optional<double>& value);
nlohmann::json json_numbers(const std::vector<double>& values);

/// What a JSON value is, in words and cut short: for the "found" of errors.
std::string describe(const nlohmann::json& value);

}  // namespace headroom
