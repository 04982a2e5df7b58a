// SPDX-License-Identifier: Apache-2.0
// A LoRA adapter as PEFT saves it: adapter_config.json and adapter_model.safetensors; and beside them, where it belongs
// to a model of another shape than its base, headroom_adapter.json, which says what changes. Hostile input: everything
// is checked before any of it is used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "checkpoint/adapter_config.h"
#include "checkpoint/safetensors_file.h"

namespace headroom::checkpoint {

/// headroom_adapter.json. What is absent stays as the base has it.
struct ArchitectureChange {
  std::filesystem::path file;
  std::string base_sha256;                   ///< Checkpoint::hash() of the only base that it fits
  std::string name;                          ///< of base and adapter together; may be empty
  std::vector<std::string> kinds;            ///< of every layer: "full", "sliding" or "linear"; empty: absent
  std::int64_t window = 0;                   ///< keys that a query of a sliding layer sees, its own among them
  std::optional<double> rope_base;           ///< of every attention layer
  std::optional<std::int64_t> context;       ///< tokens
};
/// Throws input errors that name the key, what was expected and what was found.
ArchitectureChange read_architecture_change(const std::filesystem::path& file);

/// One module's change of its weight: scale * B A.
struct LoraFactors {
  std::string module;  ///< as the adapter's tensors name it: "model.layers.3.self_attn.q_proj"
  std::size_t a = 0, b = 0;  ///< tensors of the file: A [rank, in], B [out, rank]
  std::int64_t rank = 0, in = 0, out = 0;
};

class Adapter {
 public:
  /// A folder, or the safetensors file in it. Throws input errors: what is missing, a tensor that is no factor of
  /// LoRA's, factors that do not fit each other or the configuration, values that are not finite.
  static std::unique_ptr<const Adapter> open(const std::filesystem::path& path);

  const std::filesystem::path& folder() const { return folder_; }
  std::string name() const;  ///< the folder's own name
  const AdapterConfig& config() const { return config_; }
  const std::optional<ArchitectureChange>& change() const { return change_; }
  /// In the order of the modules' names.
  const std::vector<LoraFactors>& factors() const { return factors_; }
  /// "FILE: tensor 'NAME'" of a module's A, for messages.
  std::string place_of(const LoraFactors& factors) const;
  std::vector<std::filesystem::path> files() const;
  /// SHA-256 of the lines "NAME SHA-256" of its files: all that can change a result.
  const std::string& hash(const JobContext& job = {}) const;

  /// Rows first … of A or B, into `out`, a multiple of the tensor's columns. Safe from several threads; throws input
  /// errors for values that are not finite.
  void read_rows(std::size_t tensor, std::int64_t first, std::span<float> out) const;

 private:
  Adapter(std::filesystem::path folder, const std::filesystem::path& weights);
  void pair_factors();
  void check_values() const;

  std::filesystem::path folder_;
  AdapterConfig config_;
  std::unique_ptr<const SafetensorsFile> weights_;
  std::optional<ArchitectureChange> change_;
  std::vector<LoraFactors> factors_;
  std::string config_sha256_, change_sha256_;
  mutable std::once_flag hash_once_;
  mutable std::string hash_;
};

}  // namespace headroom::checkpoint
