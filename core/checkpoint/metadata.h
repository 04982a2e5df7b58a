// SPDX-License-Identifier: Apache-2.0
// What GGUF files and safetensors folders share: typed metadata, the tensor table, reading a tensor as fp32.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace headroom::checkpoint {

/// Names from a file, fit for one line of a message: control characters escaped, shortened, in quotes.
std::string in_quotes(std::string_view name);

/// A value of JSON that no key can have: it is kept, so that whoever wants the key can say what is there.
struct OtherValue {
  std::string_view what;  ///< e.g. "null"
  bool empty = false;     ///< null, or an object that is empty
};

using MetadataValue = std::variant<bool, std::int64_t, std::uint64_t, double, std::string, std::vector<std::string>,
                                   std::vector<double>, OtherValue>;

/// The most elements a file may claim for a tensor: its bytes fit in 64 bits whatever the type.
inline constexpr std::uint64_t max_elements = std::uint64_t{1} << 42;

class CheckpointBase : public Checkpoint {
 public:
  explicit CheckpointBase(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const override { return path_; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const TensorInfo* find(std::string_view name) const override;
  void read_f32(std::string_view name, std::span<float> out) const override;
  void read_part(std::string_view name, std::int64_t first, std::span<float> out) const override;
  void read_bytes(std::string_view name, std::uint64_t offset, std::span<std::uint8_t> out) const override;
  bool same_data(std::string_view first, std::string_view second) const override;
  std::optional<std::int64_t> get_int(std::string_view key) const override;
  std::optional<double> get_float(std::string_view key) const override;
  std::optional<bool> get_bool(std::string_view key) const override;
  std::optional<std::string> get_string(std::string_view key) const override;
  std::optional<std::vector<std::string>> get_strings(std::string_view key) const override;
  std::optional<std::vector<double>> get_numbers(std::string_view key) const override;
  Held holds(std::string_view key) const override;
  std::map<std::string, std::string> keys(std::string_view prefix) const override;
  const std::string& hash(const JobContext& job = {}) const override;

 protected:
  /// Stored bytes of a tensor, already checked to lie inside the file. Called from several threads.
  virtual void read_stored(std::size_t tensor, std::uint64_t offset, std::span<std::uint8_t> out) const = 0;
  /// Values first … of a tensor, whole blocks, unchecked. Called from several threads.
  virtual void read_values(std::size_t tensor, std::int64_t first, std::span<float> out) const;
  virtual std::string compute_hash(const JobContext& job) const = 0;
  /// False where the name is taken.
  bool add_tensor(TensorInfo info);
  bool add_value(std::string key, MetadataValue value);
  /// The keys that begin so were read, and nobody else needs to know of them.
  void remove_values(std::string_view prefix);
  std::string place_of_key(std::string_view key) const;
  std::string place_of_tensor(std::string_view name) const;

 private:
  const MetadataValue* value(std::string_view key) const;
  std::size_t number_of(std::string_view name) const;
  void read_finite(std::size_t tensor, std::int64_t first, std::span<float> out, bool all_cores) const;
  [[noreturn]] void wrong_type(std::string_view key, std::string expected, const MetadataValue& found) const;

  std::filesystem::path path_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, std::size_t> tensor_index_;
  std::unordered_map<std::string, MetadataValue> values_;
  mutable std::once_flag hash_once_;
  mutable std::string hash_;
};

std::unique_ptr<Checkpoint> open_gguf(const std::filesystem::path& file);
std::unique_ptr<Checkpoint> open_safetensors(const std::filesystem::path& folder);

}  // namespace headroom::checkpoint
