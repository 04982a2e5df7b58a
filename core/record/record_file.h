// SPDX-License-Identifier: Apache-2.0
// Typed reads from a sealed record, by its directory. Every class, rank and extent is checked before a byte is
// allocated, and compressed chunks are undone in buffers of the declared size. Safe to use from several threads.
// Internal to core/record.
#pragma once

#include "record/directory.h"
#include "record/sealed_file.h"

namespace headroom::record {

/// Every function throws input errors that name file and dataset.
class RecordFile {
 public:
  explicit RecordFile(const std::filesystem::path& file);

  const std::string& place() const { return place_; }
  FileChange change(const std::filesystem::path& file) const { return file_.change(file); }
  bool has(const std::string& path) const { return directory_.datasets.contains(path); }

  /// A dataset of one of `elements` with the expected rank and extent; -1 accepts 0 … `limit`.
  const StoredDataset& find(const std::string& path, std::span<const Element> elements, const Extent& expected,
                            std::int64_t limit = 0) const;
  /// Reads everything, or one index of the first dimension where `first_index` >= 0, into `out`.
  void read(const StoredDataset& dataset, const std::string& path, std::int64_t first_index, void* out) const;
  /// Reads the chunks that hold the box [at, at + size), which lies inside the extent, into `out`.
  void read_box(const StoredDataset& dataset, const std::string& path, const Extent& at, const Extent& size,
                void* out) const;
  const Directory& directory() const { return directory_; }
  /// Bytes of the whole file.
  std::int64_t bytes() const { return file_.bytes(); }

  template <typename T>
  std::vector<T> read_all(const std::string& path, const Extent& expected, std::int64_t limit = 0) const {
    const Element element[] = {ElementOf<T>::value};
    const StoredDataset& dataset = find(path, element, expected, limit);
    std::vector<T> values(static_cast<std::size_t>(dataset.elements()));
    read(dataset, path, -1, values.data());
    return values;
  }
  /// Index `first_index` of the first dimension.
  template <typename T>
  std::vector<T> read_one(const std::string& path, const Extent& expected, std::int64_t first_index) const {
    const Element element[] = {ElementOf<T>::value};
    const StoredDataset& dataset = find(path, element, expected);
    std::vector<T> values(static_cast<std::size_t>(dataset.elements() / std::max<std::int64_t>(dataset.extent[0], 1)));
    read(dataset, path, first_index, values.data());
    return values;
  }
  /// float16 or float32.
  std::vector<float> read_floats(const std::string& path, const Extent& expected) const;
  std::string read_text(const std::string& path, std::int64_t limit) const;

  template <typename T>
  T attribute(const std::string& path, const char* name) const {
    const Attribute& value = find_attribute(path, name);
    if (const T* typed = std::get_if<T>(&value)) return *typed;
    wrong_attribute(path, name);
  }

 private:
  struct ChunkBuffers {
    std::vector<std::uint8_t> stored, inflated, plain;  ///< the last two of a chunk's size
  };
  /// The content of one chunk, its filters undone.
  std::span<const std::uint8_t> undo(const StoredDataset& dataset, const StoredChunk& chunk, const std::string& path,
                                     const Extent& at, ChunkBuffers& buffers) const;
  const Attribute& find_attribute(const std::string& path, const char* name) const;
  [[noreturn]] void wrong_attribute(const std::string& path, const char* name) const;

  std::string place_;
  SealedFile file_;
  Directory directory_;
};

}  // namespace headroom::record
