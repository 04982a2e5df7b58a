// SPDX-License-Identifier: Apache-2.0
// A sealed file: HDF5 behind a 512-byte user block, followed by one CRC-32C for each 64 KiB. The HDF5 library never
// sees a byte that was not checked, because its reader is not safe on damaged files. Internal to core/record.
#pragma once

#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace headroom::record {

/// Bytes before the HDF5 part: the user block that the file must be created with.
inline constexpr std::int64_t seal_bytes = 512;
inline constexpr std::int64_t sealed_block_bytes = 64 << 10;

/// Appends the checksums to a closed HDF5 file, fills its user block and syncs it to disk. Throws input errors.
void seal_file(const std::filesystem::path& file);

/// A sealed file open for reading; every byte is checked against the seal the first time that it is read. No file lock.
class SealedFile {
 public:
  /// Checks the seal itself, nothing else. Throws input errors: no seal, another version, truncated, damaged.
  explicit SealedFile(const std::filesystem::path& file);
  ~SealedFile();
  SealedFile(const SealedFile&) = delete;
  SealedFile& operator=(const SealedFile&) = delete;

  /// Where the HDF5 part ends, counted from the beginning of the file.
  std::int64_t end() const { return end_; }
  /// Copies bytes [offset, offset + size); those past the end read as zero. False where the file is damaged there.
  bool read(std::int64_t offset, std::span<std::uint8_t> out) noexcept;
  /// In words: the damage that read() came upon; empty where there was none.
  const std::string& damage() const { return damage_; }

  /// Makes a file access property list read through this object, which must outlive the HDF5 file. The library lock
  /// must be held. False where the library refuses.
  bool set_driver(hid_t access);

 private:
  bool check_block(std::int64_t block, std::span<const std::uint8_t> content);

  int descriptor_ = -1;
  std::int64_t end_ = 0;
  std::vector<std::uint32_t> checksums_;
  std::vector<bool> checked_;
  std::vector<std::uint8_t> scratch_;
  std::string damage_;
};

}  // namespace headroom::record
