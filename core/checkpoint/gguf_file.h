// SPDX-License-Identifier: Apache-2.0
// One GGUF file, version 2 or 3: its keys and its table of tensors. A model is one such file or several (gguf.cpp).
// Everything in the file is hostile: counts are held against the bytes that are left before anything is allocated,
// offsets and sizes against the file before anything is read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/input_file.h"
#include "checkpoint/metadata.h"

namespace headroom::checkpoint {

class GgufFile {
 public:
  enum class ValueType : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };

  /// Reads keys and table. Throws input errors.
  explicit GgufFile(const std::filesystem::path& file);

  const std::filesystem::path& path() const { return file_.path(); }
  /// In the order of the file.
  const std::vector<std::pair<std::string, MetadataValue>>& values() const { return values_; }
  /// The value of a key, or nullptr.
  const MetadataValue* find(std::string_view key) const;
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  /// Stored bytes of tensors()[tensor], from `offset` of its data on. Throws input errors (InputFile).
  void read(std::size_t tensor, std::uint64_t offset, std::span<std::uint8_t> out) const {
    file_.read(data_begin_ + offsets_[tensor] + offset, out);
  }
  /// SHA-256 of the whole file.
  std::string hash(const JobContext& job = {}) const { return file_.hash(job); }

 private:
  class Cursor;

  void parse();
  void parse_header(Cursor& in, std::uint64_t& num_tensors, std::uint64_t& num_keys);
  void parse_key(Cursor& in);
  MetadataValue parse_scalar(Cursor& in, ValueType type, std::string_view what);
  MetadataValue parse_array(Cursor& in, const std::string& key);
  void parse_tensor(Cursor& in);
  void check_data(const Cursor& in);
  bool add_value(const std::string& key, MetadataValue value);
  std::string place_of_key(std::string_view key) const;
  std::string place_of_tensor(std::string_view name) const;

  InputFile file_;
  std::uint64_t alignment_ = 32;
  std::uint64_t data_begin_ = 0;
  std::vector<std::pair<std::string, MetadataValue>> values_;
  std::vector<TensorInfo> tensors_;
  std::vector<std::uint64_t> offsets_;  ///< into the data section, by tensor
  std::unordered_set<std::string> keys_, names_;
};

}  // namespace headroom::checkpoint
