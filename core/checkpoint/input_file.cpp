// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/sha256.h"

namespace headroom::checkpoint {

InputFile::InputFile(const std::filesystem::path& path) : path_(path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) throw input_error(path.string(), "cannot open the file", "a readable file", std::strerror(errno));
  struct stat status {};
  if (::fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(file);
    throw input_error(path.string(), "cannot be read", "a regular file", "something else");
  }
  ::posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);  // twice as far ahead; where it is refused nothing is lost
  descriptor_ = file;
  size_ = static_cast<std::uint64_t>(status.st_size);
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

void InputFile::read(std::uint64_t offset, std::span<std::uint8_t> out) const {
  while (!out.empty()) {
    const auto got = ::pread(descriptor_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw input_error(path_.string(), "cannot be read any more", {}, std::strerror(errno));
    if (got == 0) {
      struct stat status {};
      const bool known = ::fstat(descriptor_, &status) == 0;
      throw input_error(path_.string(), "the file has become shorter while it was read",
                        std::to_string(size_) + " bytes",
                        known ? std::to_string(status.st_size) + " bytes" : std::string());
    }
    offset += static_cast<std::uint64_t>(got);
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::string InputFile::text(std::uint64_t limit) const {
  if (size_ > limit) {
    throw input_error(path_.string(), "the file is too large", "at most " + std::to_string(limit) + " bytes",
                      std::to_string(size_));
  }
  std::string text(size_, '\0');
  read(0, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
  return text;
}

std::string InputFile::hash(const JobContext& job) const {
  Sha256 digest;
  std::vector<std::uint8_t> block(std::min<std::uint64_t>(size_, 1 << 20));
  for (std::uint64_t at = 0; at < size_; at += block.size()) {
    const auto piece = std::span(block).first(std::min<std::uint64_t>(block.size(), size_ - at));
    job.check();
    read(at, piece);
    digest.add(piece);
  }
  return digest.hex();
}

}  // namespace headroom::checkpoint
