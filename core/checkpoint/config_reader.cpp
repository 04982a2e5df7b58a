// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/config_reader.h"

#include "base/error.h"
#include "checkpoint/metadata.h"

namespace headroom::checkpoint {

std::string key_place(const Checkpoint& checkpoint, std::string_view key) {
  return checkpoint.path().string() + ": key " + in_quotes(key);
}

std::int64_t ConfigReader::require_int(std::string_view key, std::int64_t smallest, std::int64_t largest) const {
  const auto value = checkpoint_.get_int(key);
  if (!value) refuse(key, "the key is missing", "a whole number", "nothing");
  if (*value < smallest || *value > largest) {
    refuse(key, "the value is out of range", std::to_string(smallest) + " to " + std::to_string(largest),
           std::to_string(*value));
  }
  return *value;
}

std::int64_t ConfigReader::int_or(std::string_view key, std::int64_t absent, std::int64_t smallest,
                                  std::int64_t largest) const {
  return checkpoint_.get_int(key) ? require_int(key, smallest, largest) : absent;
}

double ConfigReader::require_float(std::string_view key, double smallest, double largest) const {
  const auto value = checkpoint_.get_float(key);
  if (!value) refuse(key, "the key is missing", "a number", "nothing");
  if (!(*value >= smallest && *value <= largest)) {
    refuse(key, "the value is out of range", std::to_string(smallest) + " to " + std::to_string(largest),
           std::to_string(*value));
  }
  return *value;
}

double ConfigReader::float_or(std::string_view key, double absent, double smallest, double largest) const {
  return checkpoint_.get_float(key) ? require_float(key, smallest, largest) : absent;
}

std::string ConfigReader::string_or(std::string_view key, std::string_view absent) const {
  const auto value = checkpoint_.get_string(key);
  return value ? *value : std::string(absent);
}

void ConfigReader::must_not_be_set(std::string_view key, std::string_view why) const {
  if (checkpoint_.get_bool(key).value_or(false)) refuse(key, std::string(why), "false", "true");
}

const TensorInfo& ConfigReader::require_tensor(std::string_view name, std::size_t rank) const {
  const TensorInfo* const info = checkpoint_.find(name);
  const std::string place = checkpoint_.path().string() + ": tensor " + in_quotes(name);
  if (!info) throw input_error(place, "the tensor is missing");
  if (info->shape.size() != rank)
    throw input_error(place, "the tensor has the wrong rank", std::to_string(rank), std::to_string(info->shape.size()));
  return *info;
}

void ConfigReader::refuse(std::string_view key, std::string message, std::string expected, std::string found) const {
  throw input_error(key_place(checkpoint_, key), std::move(message), std::move(expected), std::move(found));
}

}  // namespace headroom::checkpoint
