// SPDX-License-Identifier: Apache-2.0
// A value in a JSON file of a tokenizer and the path to it, for messages.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json_fields.h"

namespace headroom::tokenizer {

class JsonNode {
 public:
  using Json = nlohmann::json;
  /// Keeps a reference to `value`. `path`: "FILE: a.b[3]".
  JsonNode(const Json& value, std::string path) : value_(&value), path_(std::move(path)) {}

  const Json& json() const { return *value_; }
  const std::string& path() const { return path_; }
  bool is_null() const { return value_->is_null(); }
  [[noreturn]] void fail(std::string message, std::string expected, std::string found) const {
    // Of the whole file the path is "FILE: ".
    const std::string place = path_.ends_with(": ") ? path_.substr(0, path_.size() - 2) : path_;
    throw input_error(place, std::move(message), std::move(expected), std::move(found));
  }
  [[noreturn]] void wrong(std::string expected) const {
    fail("the value is not what it should be", std::move(expected), describe(*value_));
  }

  /// Throws where it is no object, or has no such key.
  JsonNode at(const char* key) const {
    const auto found = find(key);
    if (!found) fail("a key is missing", std::string("'") + key + "'", "none");
    return *found;
  }
  /// Nothing where the key is absent or null.
  std::optional<JsonNode> find(const char* key) const {
    if (!value_->is_object()) wrong("an object");
    const auto found = value_->find(key);
    if (found == value_->end() || found->is_null()) return std::nullopt;
    return JsonNode(*found, path_ + (path_.ends_with(": ") ? "" : ".") + key);
  }
  std::size_t size() const {
    if (!value_->is_array()) wrong("a list");
    return value_->size();
  }
  JsonNode operator[](std::size_t index) const { return {(*value_)[index], path_ + "[" + std::to_string(index) + "]"}; }

  const std::string& string() const {
    if (!value_->is_string()) wrong("a string");
    return value_->get_ref<const std::string&>();
  }
  bool boolean() const {
    if (!value_->is_boolean()) wrong("true or false");
    return value_->get<bool>();
  }
  bool boolean_or(const char* key, bool absent) const {
    const auto found = find(key);
    return found ? found->boolean() : absent;
  }
  /// A token id.
  std::int32_t id() const {
    if (!value_->is_number_integer() || value_->get<double>() < 0 || value_->get<double>() >= (1 << 24))
      wrong("a token id, 0 to 2^24 - 1");
    return value_->get<std::int32_t>();
  }
  double number() const {
    if (!value_->is_number()) wrong("a number");
    return value_->get<double>();
  }

 private:
  const Json* value_;
  std::string path_;
};

}  // namespace headroom::tokenizer
