// SPDX-License-Identifier: Apache-2.0
// A checkpoint that is nowhere on disk: a family's tensors with random values. For timing shapes whose weights
// are not at hand ("no quality"), and for tests.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "checkpoint/checkpoint.h"
#include "model/family.h"

namespace headroom::model {

/// Vectors hold what their plan calls typical; matrices are uniform with standard deviation 1 / sqrt(columns), so that
/// activations keep their size. The same seed gives the same values on one kind of device. No metadata. Throws input
/// errors for an unknown architecture.
class RandomCheckpoint : public checkpoint::Checkpoint {
 public:
  RandomCheckpoint(const ModelConfig& config, std::uint64_t seed);
  /// Of a family that is not in families().
  RandomCheckpoint(const ModelConfig& config, const Family& family, std::uint64_t seed);

  checkpoint::Format format() const override { return checkpoint::Format::gguf; }
  std::vector<std::filesystem::path> files() const override { return {}; }
  const std::filesystem::path& path() const override { return path_; }
  const std::vector<checkpoint::TensorInfo>& tensors() const override { return tensors_; }
  const checkpoint::TensorInfo* find(std::string_view name) const override;
  void read_f32(std::string_view name, std::span<float> out) const override { read_part(name, 0, out); }
  void read_part(std::string_view name, std::int64_t first, std::span<float> out) const override;
  std::optional<std::int64_t> get_int(std::string_view) const override { return std::nullopt; }
  std::optional<double> get_float(std::string_view) const override { return std::nullopt; }
  std::optional<bool> get_bool(std::string_view) const override { return std::nullopt; }
  std::optional<std::string> get_string(std::string_view) const override { return std::nullopt; }
  std::optional<std::vector<std::string>> get_strings(std::string_view) const override { return std::nullopt; }
  std::optional<std::vector<double>> get_numbers(std::string_view) const override { return std::nullopt; }
  const std::string& hash(const JobContext& = {}) const override { return hash_; }

  /// The same values on every device, made on the host: for comparisons, where time does not count.
  void be_the_same_everywhere() { same_everywhere_ = true; }
  bool same_everywhere() const { return same_everywhere_; }

  /// Of a matrix: the bound of its uniform values.
  static double bound(std::int64_t columns);
  /// Where the values of a tensor start from.
  std::uint64_t seed_of(std::string_view name) const;

 protected:
  std::vector<checkpoint::TensorInfo> tensors_;

 private:
  std::filesystem::path path_;
  std::uint64_t seed_;
  bool same_everywhere_ = false;
  std::string hash_;  ///< of what says which values there are: seed, tensors, shapes
  std::map<std::string, float, std::less<>> typical_;  // of vectors
};

}  // namespace headroom::model
