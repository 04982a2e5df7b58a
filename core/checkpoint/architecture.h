// SPDX-License-Identifier: Apache-2.0
// How an architecture's metadata become a ModelConfig. A new architecture is one new file in architectures/ that
// defines `Architecture entry_<file>()`; the build collects them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/model_config.h"

namespace headroom::checkpoint {

struct Architecture {
  std::string_view gguf;                          ///< general.architecture, also ModelConfig::architecture
  std::string_view transformers;                  ///< in config.json's "architectures"
  void (*read)(const Checkpoint&, ModelConfig&);  ///< fills everything but `architecture` and `name`
};

/// All that are supported.
std::vector<Architecture> architectures();

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
