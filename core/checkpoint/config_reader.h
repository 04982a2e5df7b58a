// SPDX-License-Identifier: Apache-2.0
// Checked reading of a checkpoint's metadata: whole numbers, fractions, flags and the shapes that go with them.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>

#include "checkpoint/checkpoint.h"

namespace headroom::checkpoint {

/// "FILE: key 'KEY'", as messages name the place.
std::string key_place(const Checkpoint& checkpoint, std::string_view key);

/// Reads keys of a checkpoint with range checks; every message names key, expected and found. It remembers which keys
/// were asked for, so that a key that nobody reads can be refused: it may change what the model computes.
class ConfigReader {
 public:
  /// All keys below are what follows `prefix`, e.g. "llama." or "text_config."; messages name them whole.
  explicit ConfigReader(const Checkpoint& checkpoint, std::string prefix = {})
      : checkpoint_(checkpoint), prefix_(std::move(prefix)) {}

  const Checkpoint& checkpoint() const { return checkpoint_; }
  /// The whole key.
  std::string key(std::string_view rest) const { return prefix_ + std::string(rest); }

  /// Keys that a file may also give no value (JSON's null, {}): then they count as absent. All others are refused so.
  void may_be_empty(std::initializer_list<std::string_view> keys);
  /// Whether the key is there and counts.
  bool has(std::string_view key) const;

  /// Throws where the key is absent, too.
  std::int64_t require_int(std::string_view key, std::int64_t smallest, std::int64_t largest) const;
  std::int64_t int_or(std::string_view key, std::int64_t absent, std::int64_t smallest, std::int64_t largest) const;
  double require_float(std::string_view key, double smallest, double largest) const;
  double float_or(std::string_view key, double absent, double smallest, double largest) const;
  bool bool_or(std::string_view key, bool absent) const;
  std::string string_or(std::string_view key, std::string_view absent) const;
  std::optional<std::vector<std::string>> strings(std::string_view key) const;
  std::optional<std::vector<double>> numbers(std::string_view key) const;
  /// Throws unless the key is absent or holds this value, the only one that is implemented.
  void must_be(std::string_view key, bool only, std::string_view why) const;
  void must_be(std::string_view key, double only, std::string_view why) const;
  /// Throws where the key holds anything itself: an object is known by the keys below it.
  void must_be_an_object(std::string_view key) const;
  /// The shape of a tensor that must be there with this rank.
  const TensorInfo& require_tensor(std::string_view name, std::size_t rank) const;
  /// Throws for the first key with the prefix that was not asked for and is in no list of `harmless` ones, which are
  /// known not to matter; one that ends in '.' stands for all that begin so.
  void refuse_unread(std::initializer_list<std::span<const std::string_view>> harmless) const;
  [[noreturn]] void refuse(std::string_view key, std::string message, std::string expected, std::string found) const;

 private:
  const Checkpoint& checkpoint_;
  std::string prefix_;
  std::set<std::string, std::less<>> may_be_empty_;
  mutable std::set<std::string, std::less<>> read_;  // asking is no change that a caller sees
};

/// A number as messages show it.
std::string number_text(double number);

}  // namespace headroom::checkpoint
