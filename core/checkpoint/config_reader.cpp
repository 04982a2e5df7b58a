// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/config_reader.h"

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "checkpoint/metadata.h"

namespace headroom::checkpoint {
namespace {

std::string range_text(const std::string& smallest, const std::string& largest) {
  return smallest == largest ? smallest : smallest + " to " + largest;
}

}  // namespace

std::string key_place(const Checkpoint& checkpoint, std::string_view key) {
  return checkpoint.path().string() + ": key " + in_quotes(key);
}

std::string number_text(double number) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", number);
  return text;
}

void ConfigReader::may_be_empty(std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) may_be_empty_.emplace(key);
}

bool ConfigReader::has(std::string_view key) const {
  read_.emplace(key);
  const Held held = checkpoint_.holds(this->key(key));
  return held == Held::value || (held == Held::empty && !may_be_empty_.contains(key));
}

std::int64_t ConfigReader::require_int(std::string_view key, std::int64_t smallest, std::int64_t largest) const {
  if (!has(key)) refuse(key, "the key is missing", "a whole number", "nothing");
  const std::int64_t value = *checkpoint_.get_int(this->key(key));
  if (value < smallest || value > largest) {
    refuse(key, "the value is out of range", range_text(std::to_string(smallest), std::to_string(largest)),
           std::to_string(value));
  }
  return value;
}

std::int64_t ConfigReader::int_or(std::string_view key, std::int64_t absent, std::int64_t smallest,
                                  std::int64_t largest) const {
  return has(key) ? require_int(key, smallest, largest) : absent;
}

double ConfigReader::require_float(std::string_view key, double smallest, double largest) const {
  if (!has(key)) refuse(key, "the key is missing", "a number", "nothing");
  const double value = *checkpoint_.get_float(this->key(key));
  if (!(value >= smallest && value <= largest))
    refuse(key, "the value is out of range", range_text(number_text(smallest), number_text(largest)),
           number_text(value));
  return value;
}

double ConfigReader::float_or(std::string_view key, double absent, double smallest, double largest) const {
  return has(key) ? require_float(key, smallest, largest) : absent;
}

bool ConfigReader::bool_or(std::string_view key, bool absent) const {
  return has(key) ? *checkpoint_.get_bool(this->key(key)) : absent;
}

std::string ConfigReader::string_or(std::string_view key, std::string_view absent) const {
  return has(key) ? *checkpoint_.get_string(this->key(key)) : std::string(absent);
}

std::optional<std::vector<std::string>> ConfigReader::strings(std::string_view key) const {
  return has(key) ? checkpoint_.get_strings(this->key(key)) : std::nullopt;
}

std::optional<std::vector<double>> ConfigReader::numbers(std::string_view key) const {
  return has(key) ? checkpoint_.get_numbers(this->key(key)) : std::nullopt;
}

void ConfigReader::must_be(std::string_view key, bool only, std::string_view why) const {
  if (bool_or(key, only) != only) refuse(key, std::string(why), only ? "true" : "false", only ? "false" : "true");
}

void ConfigReader::must_be(std::string_view key, double only, std::string_view why) const {
  if (!has(key)) return;
  if (const double value = *checkpoint_.get_float(this->key(key)); value != only)
    refuse(key, std::string(why), number_text(only), number_text(value));
}

void ConfigReader::must_be_an_object(std::string_view key) const {
  if (!has(key)) return;
  const std::string whole = this->key(key);
  refuse(key, "the value has the wrong type", "an object", checkpoint_.keys(whole).at(whole));
}

const TensorInfo& ConfigReader::require_tensor(std::string_view name, std::size_t rank) const {
  const TensorInfo* const info = checkpoint_.find(name);
  const std::string place = checkpoint_.path().string() + ": tensor " + in_quotes(name);
  if (!info) throw input_error(place, "the tensor is missing");
  if (info->shape.size() != rank)
    throw input_error(place, "the tensor has the wrong rank", std::to_string(rank), std::to_string(info->shape.size()));
  return *info;
}

void ConfigReader::refuse_unread(std::initializer_list<std::span<const std::string_view>> harmless) const {
  const auto is_harmless = [&](std::string_view key) {
    return std::ranges::any_of(harmless, [&](std::span<const std::string_view> list) {
      return std::ranges::any_of(list, [&](std::string_view known) {
        return key == known || (known.ends_with('.') && key.starts_with(known));
      });
    });
  };
  for (const auto& [whole, value] : checkpoint_.keys(prefix_)) {
    const std::string_view key = std::string_view(whole).substr(prefix_.size());
    if (!read_.contains(key) && !is_harmless(key))
      refuse(key, "this key is not understood, and it may change what the model computes", "no such key", value);
  }
}

void ConfigReader::refuse(std::string_view key, std::string message, std::string expected, std::string found) const {
  throw input_error(key_place(checkpoint_, this->key(key)), std::move(message), std::move(expected), std::move(found));
}

}  // namespace headroom::checkpoint
