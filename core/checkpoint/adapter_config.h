// SPDX-License-Identifier: Apache-2.0
// PEFT's adapter_config.json of a LoRA adapter: which modules of a model it changes, by what rank and scale. Every key
// is used, known not to matter, or refused with its value.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/name_pattern.h"

namespace headroom::checkpoint {

class AdapterConfig {
 public:
  /// Throws input errors that name the key, what was expected and what was found.
  explicit AdapterConfig(const std::filesystem::path& file);

  /// Whether the adapter changes the linear layer of this name ("model.layers.3.mlp.up_proj"), as PEFT decides it.
  /// `output`: the layer is the model's output matrix, which "all-linear" leaves out.
  bool targets(std::string_view module, bool output) const;
  /// "r", or what "rank_pattern" says of the module.
  std::int64_t rank(std::string_view module) const;
  /// What B A is multiplied by: alpha / rank, or alpha / sqrt(rank) with "use_rslora".
  double scale(std::string_view module) const;
  /// What the configuration says it was trained on; for messages alone. May be empty.
  const std::string& base_name() const { return base_name_; }

 private:
  /// Names, each of a whole module or of its last parts; or one expression for the whole name.
  struct ModuleNames {
    std::vector<std::string> names;
    std::optional<NamePattern> pattern;
    bool empty() const { return names.empty() && !pattern; }
    bool exactly(std::string_view module) const;
    bool matches(std::string_view module) const;
  };
  /// Entries of "rank_pattern" or "alpha_pattern". A key that is a plain name needs no machine to match.
  struct NameValue {
    std::string key;
    std::optional<NamePattern> pattern;
    double value = 0;
    bool matches(std::string_view module) const;
  };

  std::string place(const char* key) const;
  [[noreturn]] void refuse(const char* key, const std::string& why, const std::string& expected,
                           const nlohmann::json& found) const;
  void read_kind(const nlohmann::json& json) const;
  void refuse_options(const nlohmann::json& json) const;
  ModuleNames read_names(const nlohmann::json& json, const char* key) const;
  void read_layers(const nlohmann::json& json);
  std::vector<NameValue> read_values(const nlohmann::json& json, const char* key, double most) const;
  double value_of(const std::vector<NameValue>& values, const char* key, std::string_view module,
                  double otherwise) const;
  bool layer_is_listed(std::string_view module) const;

  std::filesystem::path file_;
  std::string base_name_;
  std::int64_t rank_ = 0;
  double alpha_ = 0;
  bool square_root_ = false, all_linear_ = false;
  ModuleNames targets_, excluded_;
  std::vector<std::int64_t> layers_;         ///< "layers_to_transform", sorted; empty: all
  std::vector<NamePattern> layers_pattern_;  ///< what may stand before a layer's number; empty: anything
  std::vector<NameValue> ranks_, alphas_;
};

}  // namespace headroom::checkpoint
