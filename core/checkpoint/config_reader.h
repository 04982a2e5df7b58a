// SPDX-License-Identifier: Apache-2.0
// Checked reading of a checkpoint's metadata: whole numbers, fractions, flags and the shapes that go with them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "checkpoint/checkpoint.h"

namespace headroom::checkpoint {

/// "FILE: key 'KEY'", as messages name the place.
std::string key_place(const Checkpoint& checkpoint, std::string_view key);

/// Reads whole numbers and flags of a checkpoint with range checks; every message names key, expected and found.
class ConfigReader {
 public:
  explicit ConfigReader(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}

  /// Throws where the key is absent, too.
  std::int64_t require_int(std::string_view key, std::int64_t smallest, std::int64_t largest) const;
  std::int64_t int_or(std::string_view key, std::int64_t absent, std::int64_t smallest, std::int64_t largest) const;
  double require_float(std::string_view key, double smallest, double largest) const;
  double float_or(std::string_view key, double absent, double smallest, double largest) const;
  std::string string_or(std::string_view key, std::string_view absent) const;
  /// Throws unless the key is absent or false.
  void must_not_be_set(std::string_view key, std::string_view why) const;
  /// The shape of a tensor that must be there with this rank.
  const TensorInfo& require_tensor(std::string_view name, std::size_t rank) const;
  [[noreturn]] void refuse(std::string_view key, std::string message, std::string expected, std::string found) const;

 private:
  const Checkpoint& checkpoint_;
};

}  // namespace headroom::checkpoint
