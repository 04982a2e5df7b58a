// SPDX-License-Identifier: Apache-2.0
// A sealed file: HDF5 behind a 512-byte user block, followed by the directory and one CRC-32C for each 64 KiB. Every
// byte is checked before it is used. Internal to core/record.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "record/file_change.h"

struct stat;

namespace headroom::record {

/// Bytes before the HDF5 part: the user block that the file must be created with.
inline constexpr std::int64_t seal_bytes = 512;
inline constexpr std::int64_t sealed_block_bytes = 64 << 10;

/// Appends directory and checksums to a closed HDF5 file, fills its user block and syncs it to disk. Throws input
/// errors, and device errors where the disk is full. `place` names the file in them.
void seal_file(const std::filesystem::path& file, std::span<const std::uint8_t> directory, const std::string& place);
inline void seal_file(const std::filesystem::path& file, std::span<const std::uint8_t> directory) {
  seal_file(file, directory, file.string());
}

/// A sealed file open for reading; safe to use from several threads. No file lock.
class SealedFile {
 public:
  /// Checks the seal and the directory's checksum. Throws input errors: no seal, another version, truncated, damaged.
  explicit SealedFile(const std::filesystem::path& file);
  ~SealedFile();
  SealedFile(const SealedFile&) = delete;
  SealedFile& operator=(const SealedFile&) = delete;

  /// Where the HDF5 part ends, counted from the beginning of the file.
  std::int64_t end() const { return end_; }
  std::int64_t bytes() const { return opened_.size; }
  FileChange change(const std::filesystem::path& file) const;
  const std::vector<std::uint8_t>& directory() const { return directory_; }
  /// Copies bytes [offset, offset + size) of the HDF5 part; a block is checked the first time that it is read. Throws
  /// an input error that names `place` where the file is damaged there.
  void read(std::int64_t offset, std::span<std::uint8_t> out, const std::string& place) const;

 private:
  void check_block(std::int64_t block, std::span<const std::uint8_t> content, const std::string& place) const;

  int descriptor_ = -1;
  std::int64_t end_ = 0;
  struct Stamp {
    std::uint64_t device, inode;
    std::int64_t seconds, nanoseconds, size;
    bool operator==(const Stamp&) const = default;
  };
  static Stamp stamp_of(const struct stat& status);
  Stamp opened_{};
  std::vector<std::uint8_t> directory_;
  std::vector<std::uint32_t> checksums_;
  mutable std::vector<std::atomic<bool>> checked_;
};

}  // namespace headroom::record
