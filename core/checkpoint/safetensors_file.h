// SPDX-License-Identifier: Apache-2.0
// One .safetensors file: read with every bound checked first, written as FILE.part and renamed. Indexers, logits and
// training states are stored this way; a model folder is several of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/mapped_file.h"

namespace headroom::checkpoint {

class SafetensorsFile {
 public:
  /// Maps the file. Throws input errors: not such a file, header past the end, unknown dtype (F32, F16 and BF16 are
  /// read), a shape that does not match its bytes, tensors that overlap or reach past the end, duplicate names.
  static std::unique_ptr<SafetensorsFile> open(const std::filesystem::path& file);
  const std::filesystem::path& path() const { return path_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const TensorInfo* find(std::string_view name) const;
  /// The stored bytes; throws an input error for unknown names.
  std::span<const std::uint8_t> bytes(std::string_view name) const;
  /// Of tensors()[tensor].
  std::span<const std::uint8_t> bytes(std::size_t tensor) const;
  /// SHA-256 of the whole file.
  std::string hash() const;
  /// Values as fp32; `out` has elements() places. Not finite: input error naming tensor and flat index.
  void read_f32(std::string_view name, std::span<float> out) const;
  /// The header's `__metadata__`, strings only.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  explicit SafetensorsFile(const std::filesystem::path& file);
  std::filesystem::path path_;
  MappedFile mapping_;
  std::vector<TensorInfo> tensors_;
  std::vector<std::uint64_t> offsets_;  ///< into the mapping, by tensor
  std::map<std::string, std::string> metadata_;
};

struct TensorToWrite {
  std::string name;
  std::vector<std::int64_t> shape;
  DType dtype = DType::f32;             ///< f32, f16 or bf16
  std::span<const std::uint8_t> bytes;  ///< row-major
};

/// Throws input errors where the file cannot be written.
void write_safetensors(const std::filesystem::path& file, const std::vector<TensorToWrite>& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace headroom::checkpoint
