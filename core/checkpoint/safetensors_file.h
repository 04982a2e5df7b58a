// SPDX-License-Identifier: Apache-2.0
// One .safetensors file: read with every bound checked first. Indexers, logits and training states are stored this way;
// a model folder is several of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/output_file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/input_file.h"

namespace headroom::checkpoint {

class SafetensorsFile {
 public:
  /// Reads the header. Throws input errors: not such a file, header past the end, unknown dtype (F32, F16, BF16,
  /// F8_E4M3, U8, I32 and I64 are read), a shape that does not match its bytes, tensors that overlap or reach past the
  /// end, duplicate names.
  static std::unique_ptr<SafetensorsFile> open(const std::filesystem::path& file);
  const std::filesystem::path& path() const { return file_.path(); }
  /// In the order of their data.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const TensorInfo* find(std::string_view name) const;
  /// Stored bytes of tensors()[tensor], from `offset` of its data on. Throws input errors (InputFile).
  void read(std::size_t tensor, std::uint64_t offset, std::span<std::uint8_t> out) const;
  /// SHA-256 of the whole file.
  std::string hash(const JobContext& job = {}) const { return file_.hash(job); }
  /// Values as fp32; `out` has elements() places. Not finite: input error naming tensor and flat index.
  void read_f32(std::string_view name, std::span<float> out) const;
  /// Values of an I32 or I64 tensor; input errors for others.
  std::vector<std::int64_t> read_integers(std::string_view name) const;
  /// The header's `__metadata__`, strings only.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  explicit SafetensorsFile(const std::filesystem::path& file);
  void sort_by_offset();
  InputFile file_;
  std::vector<TensorInfo> tensors_;
  std::vector<std::uint64_t> offsets_;  ///< into the file, by tensor
  std::map<std::string, std::string> metadata_;
};

struct TensorToWrite {
  std::string name;
  std::vector<std::int64_t> shape;
  DType dtype = DType::f32;             ///< one that a file may hold
  std::span<const std::uint8_t> bytes;  ///< row-major
};

/// Throws device errors where the file cannot be written whole. Returns where it is (OutputFile::commit).
std::filesystem::path write_safetensors(OutputPlace& place, const std::vector<TensorToWrite>& tensors,
                                        const std::map<std::string, std::string>& metadata);

}  // namespace headroom::checkpoint
