// SPDX-License-Identifier: Apache-2.0
// One interface over GGUF files and safetensors folders: tensors by name, metadata by key. Hostile input: every count,
// offset and string is bounds-checked before use.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"

namespace headroom::checkpoint {

/// Those that end in _k, _nl, _xs and 4_0 … are GGML's blocks. f8_e4m3 values have a scale that is stored beside them,
/// u8 are bytes, i32 and i64 whole numbers (SafetensorsFile alone reads them); mxfp4 is GGML's block of the OCP
/// microscaling format, mxfp4_pairs the same values as gpt-oss' safetensors hold them.
enum class DType {
  f32,
  f16,
  bf16,
  f8_e4m3,
  u8,
  i32,
  i64,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_nl,
  iq4_xs,
  mxfp4,
  mxfp4_pairs
};
std::string_view to_string(DType dtype);

struct TensorInfo {
  std::string name;
  std::vector<std::int64_t> shape;  ///< outermost first (row-major), as PyTorch prints it
  DType dtype = DType::f32;
  std::uint64_t bytes = 0;  ///< size of the stored data
  std::int64_t elements() const;
};

enum class Format { gguf, safetensors };

class Adapter;

/// Under a key: no such key, one without a value (JSON's null or {}), or a value.
enum class Held { nothing, empty, value };

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  virtual Format format() const = 0;
  virtual const std::filesystem::path& path() const = 0;
  /// What is read of it; one that is optional may be missing.
  virtual std::vector<std::filesystem::path> files() const = 0;
  virtual const std::vector<TensorInfo>& tensors() const = 0;
  /// nullptr where there is no tensor of that name.
  virtual const TensorInfo* find(std::string_view name) const = 0;
  /// The tensor's values as fp32, row-major; `out` has elements() places. Throws input errors for unknown names and
  /// for values that are not finite (naming tensor and flat index).
  virtual void read_f32(std::string_view name, std::span<float> out) const = 0;
  /// Values first … of the same, on the calling thread alone; several threads may call at once. `first` and the number
  /// of values are multiples of block_layout(dtype).elements.
  virtual void read_part(std::string_view name, std::int64_t first, std::span<float> out) const = 0;
  /// Stored bytes from `offset` on, unchecked: of types whose values stand for themselves (f32, f16, bf16).
  virtual void read_bytes(std::string_view name, std::uint64_t offset, std::span<std::uint8_t> out) const;
  /// Whether the stored bytes are the tensor's values: not where an adapter is merged into it.
  virtual bool is_as_stored(std::string_view /*name*/) const { return true; }
  /// Whether two tensors are stored as the same bytes of the same type and shape.
  virtual bool same_data(std::string_view first, std::string_view second) const { return first == second; }

  // Metadata. GGUF: its keys. Safetensors: config.json under its own keys, nested objects joined by '.'.
  // nullopt = absent; a value of another type, JSON's null too, throws an input error that names the key.
  virtual std::optional<std::int64_t> get_int(std::string_view key) const = 0;
  virtual std::optional<double> get_float(std::string_view key) const = 0;
  virtual std::optional<bool> get_bool(std::string_view key) const = 0;
  virtual std::optional<std::string> get_string(std::string_view key) const = 0;
  virtual std::optional<std::vector<std::string>> get_strings(std::string_view key) const = 0;
  virtual std::optional<std::vector<double>> get_numbers(std::string_view key) const = 0;
  virtual Held holds(std::string_view /*key*/) const { return Held::nothing; }
  /// Every key that begins with `prefix`, with its value in words for messages.
  virtual std::map<std::string, std::string> keys(std::string_view /*prefix*/) const { return {}; }

  /// SHA-256 of the weights file (GGUF), or of the sorted "name sha256" lines of a folder's safetensors files.
  /// Computed at the first call, which polls `job`: of a large model that takes a while.
  /// With an adapter: of the pair, so that what belongs to the base is nobody's of the pair, and the reverse.
  virtual const std::string& hash(const JobContext& job = {}) const = 0;
  /// The same of the base alone.
  virtual const std::string& base_hash(const JobContext& job = {}) const { return hash(job); }
  /// What is merged into the weights as they are read (model/adapted_checkpoint.h); nullptr: nothing.
  virtual const Adapter* adapter() const { return nullptr; }
};

/// A GGUF file, or a folder with config.json and *.safetensors. Throws input errors.
std::unique_ptr<Checkpoint> open_checkpoint(const std::filesystem::path& path);

}  // namespace headroom::checkpoint
