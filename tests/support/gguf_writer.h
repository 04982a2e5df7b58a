// SPDX-License-Identifier: Apache-2.0
// Writes GGUF files for tests: well-formed ones, and through `raw` whatever a test wants to be wrong.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace headroom::test {

/// Little-endian bytes.
class ByteWriter {
 public:
  template <class T>
  ByteWriter& number(T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    bytes_.append(raw, sizeof(T));
    return *this;
  }
  ByteWriter& string(std::string_view text) {
    number<std::uint64_t>(text.size());
    bytes_ += text;
    return *this;
  }
  ByteWriter& raw(std::string_view text) {
    bytes_ += text;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

class GgufWriter {
 public:
  std::uint32_t version = 3;
  std::uint32_t alignment = 32;

  void add(std::string_view key, std::uint32_t value) { begin(key, 4).number(value); }
  void add(std::string_view key, float value) { begin(key, 6).number(value); }
  void add_bool(std::string_view key, bool value) { begin(key, 7).number<std::uint8_t>(value); }
  void add(std::string_view key, std::string_view value) { begin(key, 8).string(value); }
  void add(std::string_view key, const std::vector<std::string>& values) {
    ByteWriter& out = begin(key, 9).number<std::uint32_t>(8).number<std::uint64_t>(values.size());
    for (const std::string& value : values) out.string(value);
  }
  void add(std::string_view key, const std::vector<std::int32_t>& values) {
    ByteWriter& out = begin(key, 9).number<std::uint32_t>(5).number<std::uint64_t>(values.size());
    for (const std::int32_t value : values) out.number(value);
  }
  /// Key and value type as given; the caller writes the value.
  ByteWriter& begin(std::string_view key, std::uint32_t type) {
    ++num_keys_;
    return keys_.string(key).number(type);
  }

  /// Keys with their values as another file has them (gguf_parts.h).
  void add_keys(std::string_view bytes, std::uint64_t count) {
    keys_.raw(bytes);
    num_keys_ += count;
  }

  /// `shape` outermost first; `type` is GGML's number (0 = F32, 3 = Q4_1 …); `data` its stored bytes.
  void add_tensor(std::string_view name, const std::vector<std::uint64_t>& shape, std::uint32_t type,
                  std::string_view data) {
    add_tensor_at(name, shape, type, data_.size());
    data_ += data;
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
  }
  void add_tensor(std::string_view name, const std::vector<std::uint64_t>& shape, const std::vector<float>& values) {
    add_tensor(name, shape, 0, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
  }
  /// An entry of the table alone.
  void add_tensor_at(std::string_view name, const std::vector<std::uint64_t>& shape, std::uint32_t type,
                     std::uint64_t offset) {
    ++num_tensors_;
    table_.string(name).number(static_cast<std::uint32_t>(shape.size()));
    for (std::size_t i = shape.size(); i-- > 0;) table_.number(shape[i]);
    table_.number(type).number(offset);
  }

  /// Bytes before the data section.
  std::string header() const {
    ByteWriter out;
    out.raw("GGUF").number(version).number(num_tensors_).number(num_keys_).raw(keys_.bytes()).raw(table_.bytes());
    return out.bytes();
  }
  std::string bytes() const {
    std::string out = header();
    out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + data_;
  }

 private:
  ByteWriter keys_, table_;
  std::uint64_t num_keys_ = 0, num_tensors_ = 0;
  std::string data_;
};

inline void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

}  // namespace headroom::test
