// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/metadata.h"

#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "checkpoint/dequantize.h"

namespace headroom::checkpoint {

std::string in_quotes(std::string_view name) {
  constexpr std::size_t longest = 80;
  std::string out = "'";
  for (const char c : name.substr(0, longest)) {
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f && c != '\'') {
      out += c;
      continue;
    }
    constexpr std::string_view digits = "0123456789abcdef";
    out += "\\x";
    out += digits[static_cast<unsigned char>(c) >> 4];
    out += digits[static_cast<unsigned char>(c) & 15];
  }
  return out + (name.size() > longest ? "…'" : "'");
}

const TensorInfo* CheckpointBase::find(std::string_view name) const {
  const auto found = tensor_index_.find(std::string(name));
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

void CheckpointBase::read_f32(std::string_view name, std::span<float> out) const {
  const auto found = tensor_index_.find(std::string(name));
  if (found == tensor_index_.end()) throw input_error(path_.string(), "the model has no tensor " + in_quotes(name));
  const TensorInfo& info = tensors_[found->second];
  if (static_cast<std::int64_t>(out.size()) != info.elements())
    throw Error(ErrorKind::internal, "read_f32: wrong size of the output for " + in_quotes(name));
  const auto bad = dequantize_checked(
      info.dtype,
      [&](std::uint64_t offset, std::span<std::uint8_t> bytes) { read_stored(found->second, offset, bytes); }, out);
  if (bad) {
    const float value = out[static_cast<std::size_t>(*bad)];
    throw input_error(place_of_tensor(name) + ", flat index " + std::to_string(*bad), "a weight is not a finite number",
                      "a finite value", std::isnan(value) ? "NaN" : (value < 0 ? "-infinity" : "infinity"));
  }
}

bool CheckpointBase::add_tensor(TensorInfo info) {
  if (!tensor_index_.emplace(info.name, tensors_.size()).second) return false;
  tensors_.push_back(std::move(info));
  return true;
}

bool CheckpointBase::add_value(std::string key, MetadataValue value) {
  return values_.emplace(std::move(key), std::move(value)).second;
}

std::string CheckpointBase::place_of_key(std::string_view key) const {
  return path_.string() + ": key " + in_quotes(key);
}
std::string CheckpointBase::place_of_tensor(std::string_view name) const {
  return path_.string() + ": tensor " + in_quotes(name);
}

const MetadataValue* CheckpointBase::value(std::string_view key) const {
  const auto found = values_.find(std::string(key));
  return found == values_.end() ? nullptr : &found->second;
}

void CheckpointBase::wrong_type(std::string_view key, const char* expected, const MetadataValue& found) const {
  constexpr std::array names = {"true or false", "an integer",        "an integer",       "a floating-point number",
                                "a string",      "a list of strings", "a list of numbers"};
  throw input_error(place_of_key(key), "the value has the wrong type", expected, names[found.index()]);
}

std::optional<std::int64_t> CheckpointBase::get_int(std::string_view key) const {
  const MetadataValue* const found = value(key);
  if (!found) return std::nullopt;
  if (const auto* number = std::get_if<std::int64_t>(found)) return *number;
  if (const auto* number = std::get_if<std::uint64_t>(found)) {
    if (*number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      throw input_error(place_of_key(key), "the number is too large", "less than 2^63", std::to_string(*number));
    return static_cast<std::int64_t>(*number);
  }
  wrong_type(key, "an integer", *found);
}

std::optional<double> CheckpointBase::get_float(std::string_view key) const {
  const MetadataValue* const found = value(key);
  if (!found) return std::nullopt;
  if (const auto* number = std::get_if<double>(found)) return *number;
  if (const auto* number = std::get_if<std::int64_t>(found)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<std::uint64_t>(found)) return static_cast<double>(*number);
  wrong_type(key, "a number", *found);
}

std::optional<bool> CheckpointBase::get_bool(std::string_view key) const {
  const MetadataValue* const found = value(key);
  if (!found) return std::nullopt;
  if (const auto* flag = std::get_if<bool>(found)) return *flag;
  wrong_type(key, "true or false", *found);
}

std::optional<std::string> CheckpointBase::get_string(std::string_view key) const {
  const MetadataValue* const found = value(key);
  if (!found) return std::nullopt;
  if (const auto* text = std::get_if<std::string>(found)) return *text;
  wrong_type(key, "a string", *found);
}

std::optional<std::vector<std::string>> CheckpointBase::get_strings(std::string_view key) const {
  const MetadataValue* const found = value(key);
  if (!found) return std::nullopt;
  if (const auto* list = std::get_if<std::vector<std::string>>(found)) return *list;
  if (const auto* list = std::get_if<std::vector<double>>(found); list && list->empty())
    return std::vector<std::string>();  // JSON does not say what an empty list is of
  wrong_type(key, "a list of strings", *found);
}

std::optional<std::vector<double>> CheckpointBase::get_numbers(std::string_view key) const {
  const MetadataValue* const found = value(key);
  if (!found) return std::nullopt;
  if (const auto* list = std::get_if<std::vector<double>>(found)) return *list;
  wrong_type(key, "a list of numbers", *found);
}

const std::string& CheckpointBase::hash() const {
  std::call_once(hash_once_, [this] { hash_ = compute_hash(); });
  return hash_;
}

}  // namespace headroom::checkpoint
