// SPDX-License-Identifier: Apache-2.0
// A file that is read piece by piece, from any thread. It is not mapped: what another program cuts off a mapped file
// ends the reader by a signal, here it is an error that says so.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/progress.h"

namespace headroom::checkpoint {

class InputFile {
 public:
  /// Throws input errors: no such file, not a regular file, not readable.
  explicit InputFile(const std::filesystem::path& path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }  ///< when it was opened
  /// Fills `out` from `offset` on. Throws an input error where the file has become shorter or cannot be read any more.
  void read(std::uint64_t offset, std::span<std::uint8_t> out) const;
  /// The whole file. Throws an input error where it is larger than `limit`.
  std::string text(std::uint64_t limit) const;
  /// SHA-256 of the whole file; polls `job` at every megabyte.
  std::string hash(const JobContext& job = {}) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace headroom::checkpoint
