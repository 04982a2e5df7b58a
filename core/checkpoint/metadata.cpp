// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/metadata.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "checkpoint/config_reader.h"
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

namespace {

/// The first few of a list, then how many there are.
template <typename Value, typename Text>
std::string list_text(const std::vector<Value>& list, Text text) {
  constexpr std::size_t shown = 4;
  std::string out = "[";
  for (std::size_t i = 0; i < std::min(list.size(), shown); ++i) out += (i ? ", " : "") + text(list[i]);
  return out + (list.size() > shown ? ", …] of " + std::to_string(list.size()) : "]");
}

std::string in_words(const MetadataValue& value) {
  struct Words {
    std::string operator()(bool flag) const { return flag ? "true" : "false"; }
    std::string operator()(std::int64_t number) const { return std::to_string(number); }
    std::string operator()(std::uint64_t number) const { return std::to_string(number); }
    std::string operator()(double number) const { return number_text(number); }
    std::string operator()(const std::string& text) const { return in_quotes(text); }
    std::string operator()(const std::vector<std::string>& list) const { return list_text(list, in_quotes); }
    std::string operator()(const std::vector<double>& list) const { return list_text(list, number_text); }
    std::string operator()(const OtherValue& other) const { return std::string(other.what); }
  };
  return std::visit(Words(), value);
}

}  // namespace

const TensorInfo* CheckpointBase::find(std::string_view name) const {
  const auto found = tensor_index_.find(std::string(name));
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

std::size_t CheckpointBase::number_of(std::string_view name) const {
  const auto found = tensor_index_.find(std::string(name));
  if (found == tensor_index_.end()) throw input_error(path_.string(), "the model has no tensor " + in_quotes(name));
  return found->second;
}

void CheckpointBase::read_f32(std::string_view name, std::span<float> out) const {
  const std::size_t tensor = number_of(name);
  if (static_cast<std::int64_t>(out.size()) != tensors_[tensor].elements())
    throw Error(ErrorKind::internal, "read_f32: wrong size of the output for " + in_quotes(name));
  read_finite(tensor, 0, out, true);
}

void CheckpointBase::read_part(std::string_view name, std::int64_t first, std::span<float> out) const {
  const std::size_t tensor = number_of(name);
  const TensorInfo& info = tensors_[tensor];
  const std::int64_t block = block_layout(info.dtype).elements, count = static_cast<std::int64_t>(out.size());
  if (first < 0 || count > info.elements() - first || first % block != 0 || count % block != 0)
    throw Error(ErrorKind::internal, "read_part: no such part of " + in_quotes(name));
  read_finite(tensor, first, out, false);
}

void CheckpointBase::read_bytes(std::string_view name, std::uint64_t offset, std::span<std::uint8_t> out) const {
  const std::size_t tensor = number_of(name);
  if (offset > tensors_[tensor].bytes || out.size() > tensors_[tensor].bytes - offset)
    throw Error(ErrorKind::internal, "read_bytes: no such part of " + in_quotes(name));
  read_stored(tensor, offset, out);
}

void CheckpointBase::read_values(std::size_t tensor, std::int64_t first, std::span<float> out) const {
  thread_local std::vector<std::uint8_t> stored;
  const DType dtype = tensors_[tensor].dtype;
  const BlockLayout layout = block_layout(dtype);
  stored.resize(static_cast<std::size_t>(static_cast<std::int64_t>(out.size()) / layout.elements * layout.bytes));
  read_stored(tensor, static_cast<std::uint64_t>(first / layout.elements * layout.bytes), stored);
  dequantize(dtype, stored.data(), out);
}

void CheckpointBase::read_finite(std::size_t tensor, std::int64_t first, std::span<float> out, bool all_cores) const {
  const auto read = [&](std::int64_t at, std::span<float> part) { read_values(tensor, first + at, part); };
  if (const auto bad = read_checked(read, out, all_cores)) {
    const float value = out[static_cast<std::size_t>(*bad)];
    throw input_error(place_of_tensor(tensors_[tensor].name) + ", flat index " + std::to_string(first + *bad),
                      "a weight is not a finite number", "a finite value",
                      std::isnan(value) ? "NaN" : (value < 0 ? "-infinity" : "infinity"));
  }
}

bool CheckpointBase::same_data(std::string_view first, std::string_view second) const {
  const auto a = tensor_index_.find(std::string(first)), b = tensor_index_.find(std::string(second));
  if (a == tensor_index_.end() || b == tensor_index_.end()) return false;
  const TensorInfo &one = tensors_[a->second], &other = tensors_[b->second];
  if (one.dtype != other.dtype || one.shape != other.shape) return false;
  constexpr std::uint64_t piece = 1 << 20;
  std::vector<std::uint8_t> mine, its;
  for (std::uint64_t at = 0; at < one.bytes; at += piece) {
    mine.resize(std::min(piece, one.bytes - at));
    its.resize(mine.size());
    read_stored(a->second, at, mine);
    read_stored(b->second, at, its);
    if (mine != its) return false;
  }
  return true;
}

bool CheckpointBase::add_tensor(TensorInfo info) {
  if (!tensor_index_.emplace(info.name, tensors_.size()).second) return false;
  tensors_.push_back(std::move(info));
  return true;
}

bool CheckpointBase::add_value(std::string key, MetadataValue value) {
  return values_.emplace(std::move(key), std::move(value)).second;
}

void CheckpointBase::remove_values(std::string_view prefix) {
  std::erase_if(values_, [&](const auto& value) { return value.first.starts_with(prefix); });
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

void CheckpointBase::wrong_type(std::string_view key, std::string expected, const MetadataValue& found) const {
  constexpr std::array names = {"true or false", "an integer",        "an integer",       "a floating-point number",
                                "a string",      "a list of strings", "a list of numbers"};
  const auto* const other = std::get_if<OtherValue>(&found);
  throw input_error(place_of_key(key), "the value has the wrong type", std::move(expected),
                    std::string(other ? other->what : names[found.index()]));
}

Held CheckpointBase::holds(std::string_view key) const {
  const MetadataValue* const found = value(key);
  if (!found) return Held::nothing;
  const auto* const other = std::get_if<OtherValue>(found);
  return other && other->empty ? Held::empty : Held::value;
}

std::map<std::string, std::string> CheckpointBase::keys(std::string_view prefix) const {
  std::map<std::string, std::string> found;
  for (const auto& [key, held] : values_)
    if (key.starts_with(prefix)) found.emplace(key, in_words(held));
  return found;
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

const std::string& CheckpointBase::hash(const JobContext& job) const {
  std::call_once(hash_once_, [&] { hash_ = compute_hash(job); });
  return hash_;
}

}  // namespace headroom::checkpoint
