// SPDX-License-Identifier: Apache-2.0
#include "record/sealed_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/output_file.h"
#include "record/crc32c.h"

namespace headroom::record {
namespace {

// The user block, little-endian: text, version, block size, where HDF5 ends, size of the directory, the CRCs of
// directory, list and this block.
constexpr char seal_text[65] = "Headroom run record. HDF5 begins at byte 512; see docs/record.md";
constexpr std::uint32_t seal_version = 1;

struct Seal {
  char text[64];
  std::uint32_t version, block_bytes;
  std::int64_t end, directory_bytes;
  std::uint32_t directory_crc, list_crc, own_crc;
  std::uint8_t unused[412];
};
static_assert(sizeof(Seal) == seal_bytes);

/// A file descriptor that closes itself.
struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

/// Why read_at() or write_at() failed; they leave 0 where the file ended before it should.
std::string io_reason() {
  return errno != 0 ? std::strerror(errno) : "the end of the file";
}

bool read_at(int descriptor, std::int64_t offset, std::uint8_t* out, std::size_t size) {
  errno = 0;
  while (size > 0) {
    const ssize_t count = ::pread(descriptor, out, size, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    out += count;
    offset += count;
    size -= static_cast<std::size_t>(count);
  }
  return true;
}

bool write_at(int descriptor, std::int64_t offset, const std::uint8_t* data, std::size_t size) {
  errno = 0;
  while (size > 0) {
    const ssize_t count = ::pwrite(descriptor, data, size, offset);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    data += count;
    offset += count;
    size -= static_cast<std::size_t>(count);
  }
  return true;
}

std::uint32_t own_crc(Seal seal) {
  seal.own_crc = 0;
  std::array<std::uint8_t, sizeof seal> bytes;
  std::memcpy(bytes.data(), &seal, sizeof seal);
  return crc32c(bytes);
}

std::span<const std::uint8_t> bytes_of(const std::vector<std::uint32_t>& list) {
  return {reinterpret_cast<const std::uint8_t*>(list.data()), list.size() * 4};
}

std::int64_t num_blocks(std::int64_t end) {
  return (end - seal_bytes + sealed_block_bytes - 1) / sealed_block_bytes;
}

}  // namespace

void seal_file(const std::filesystem::path& file, std::span<const std::uint8_t> directory, const std::string& place) {
  const Descriptor d{::open(file.c_str(), O_RDWR | O_CLOEXEC)};
  struct stat status;
  if (d.value < 0 || ::fstat(d.value, &status) != 0)
    throw input_error(place, "cannot be opened", {}, std::strerror(errno));
  Seal seal{};
  std::memcpy(seal.text, seal_text, sizeof seal.text);
  seal.version = seal_version;
  seal.block_bytes = sealed_block_bytes;
  seal.end = status.st_size;
  if (seal.end < seal_bytes) throw Error(ErrorKind::internal, "a file without a user block cannot be sealed");
  std::vector<std::uint32_t> list;
  std::vector<std::uint8_t> block(sealed_block_bytes);
  for (std::int64_t at = seal_bytes; at < seal.end; at += sealed_block_bytes) {
    const auto size = static_cast<std::size_t>(std::min(sealed_block_bytes, seal.end - at));
    if (!read_at(d.value, at, block.data(), size)) throw input_error(place, "cannot be read", {}, io_reason());
    list.push_back(crc32c({block.data(), size}));
  }
  seal.directory_bytes = static_cast<std::int64_t>(directory.size());
  seal.directory_crc = crc32c(directory);
  seal.list_crc = crc32c(bytes_of(list));
  seal.own_crc = own_crc(seal);
  std::memcpy(block.data(), &seal, sizeof seal);
  const auto list_bytes = bytes_of(list);
  if (!write_at(d.value, seal.end, directory.data(), directory.size()) ||
      !write_at(d.value, seal.end + seal.directory_bytes, list_bytes.data(), list_bytes.size()) ||
      !write_at(d.value, 0, block.data(), sizeof seal) || ::fsync(d.value) != 0)
    throw write_error(place, errno, seal.end + seal.directory_bytes + static_cast<std::int64_t>(list_bytes.size()),
                      seal.end, file.parent_path().empty() ? "." : file.parent_path());
}

SealedFile::SealedFile(const std::filesystem::path& file) {
  const std::string place = file.string();
  // Owned by a guard until everything is checked: the destructor does not run for a constructor that throws.
  Descriptor guard{::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  struct stat status;
  if (guard.value < 0 || ::fstat(guard.value, &status) != 0)
    throw input_error(place, "cannot be opened", {}, std::strerror(errno));
  if (!S_ISREG(status.st_mode)) throw input_error(place, "not a file");
  std::array<std::uint8_t, seal_bytes> block{};
  const bool whole = status.st_size >= seal_bytes && read_at(guard.value, 0, block.data(), block.size());
  Seal seal;
  std::memcpy(&seal, block.data(), sizeof seal);
  if (!whole || std::memcmp(seal.text, seal_text, sizeof seal.text) != 0) {
    const bool hdf5 = whole && std::memcmp(block.data(), "\x89HDF\r\n\x1a\n", 8) == 0;
    const bool zero = whole && std::all_of(block.begin(), block.end(), [](std::uint8_t b) { return b == 0; });
    throw input_error(place, "not a run record", "a file that begins with \"Headroom run record\"",
                      hdf5                  ? "an HDF5 file without Headroom's checksums"
                      : zero                ? "zeros: a record that was never finished"
                      : status.st_size == 0 ? "an empty file"
                                            : "something else, " + std::to_string(status.st_size) + " bytes");
  }
  if (seal.version != seal_version)
    throw input_error(place, "written by another version of the program", "seal " + std::to_string(seal_version),
                      std::to_string(seal.version));
  if (seal.own_crc != own_crc(seal) || seal.block_bytes != sealed_block_bytes)
    throw input_error(place, "the first 512 bytes are damaged", "their checksum");
  const std::int64_t size = status.st_size;
  constexpr std::int64_t plausible = 1LL << 50;
  if (seal.end < seal_bytes || seal.end > plausible || seal.directory_bytes < 0 || seal.directory_bytes > plausible)
    throw input_error(place, "the first 512 bytes are not plausible");
  const std::int64_t expected = seal.end + seal.directory_bytes + 4 * num_blocks(seal.end);
  if (size != expected)
    throw input_error(place, "truncated, or changed since it was written", std::to_string(expected) + " bytes",
                      std::to_string(size) + " bytes");
  end_ = seal.end;
  // Both sizes are parts of the file's size, which was just compared.
  directory_.resize(static_cast<std::size_t>(seal.directory_bytes));
  checksums_.resize(static_cast<std::size_t>(num_blocks(end_)));
  if (!read_at(guard.value, end_, directory_.data(), directory_.size()) || crc32c(directory_) != seal.directory_crc)
    throw input_error(place, "the record's directory is damaged: its checksum differs");
  if (!read_at(guard.value, end_ + seal.directory_bytes, reinterpret_cast<std::uint8_t*>(checksums_.data()),
               checksums_.size() * 4) ||
      crc32c(bytes_of(checksums_)) != seal.list_crc)
    throw input_error(place, "the list of checksums is damaged");
  checked_ = std::vector<std::atomic<bool>>(checksums_.size());
  opened_ = stamp_of(status);
  std::swap(descriptor_, guard.value);
}

SealedFile::Stamp SealedFile::stamp_of(const struct stat& status) {
  return {status.st_dev, status.st_ino, status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_size};
}

FileChange SealedFile::change(const std::filesystem::path& file) const {
  struct stat status;
  if (::stat(file.c_str(), &status) != 0) return FileChange::gone;
  const Stamp now = stamp_of(status);
  if (now == opened_) return FileChange::none;
  return now.device == opened_.device && now.inode == opened_.inode ? FileChange::changed : FileChange::replaced;
}

SealedFile::~SealedFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void SealedFile::check_block(std::int64_t block, std::span<const std::uint8_t> content,
                             const std::string& place) const {
  const auto index = static_cast<std::size_t>(block);
  if (crc32c(content) != checksums_[index]) {
    const std::int64_t begin = seal_bytes + block * sealed_block_bytes;
    throw input_error(place, "the file is damaged: the checksum differs", "the content that was written",
                      "other content in bytes " + std::to_string(begin) + " to " +
                          std::to_string(std::min(begin + sealed_block_bytes, end_) - 1));
  }
  checked_[index] = true;
}

void SealedFile::read(std::int64_t offset, std::span<std::uint8_t> out, const std::string& place) const {
  const auto size = static_cast<std::int64_t>(out.size());
  if (size == 0) return;
  if (offset < seal_bytes || offset > end_ || size > end_ - offset) throw input_error(place, "lies outside the file");
  const auto get = [&](std::int64_t at, std::span<std::uint8_t> to) {
    if (!read_at(descriptor_, at, to.data(), to.size()))
      throw input_error(place, "cannot be read any more", "the bytes that it had when it was opened", io_reason());
  };
  get(offset, out);
  std::vector<std::uint8_t> scratch;
  for (std::int64_t block = (offset - seal_bytes) / sealed_block_bytes;; ++block) {
    const std::int64_t begin = seal_bytes + block * sealed_block_bytes,
                       end = std::min(begin + sealed_block_bytes, end_);
    if (begin >= offset + size) return;
    if (checked_[static_cast<std::size_t>(block)]) continue;
    if (begin >= offset && end <= offset + size) {
      check_block(block, out.subspan(static_cast<std::size_t>(begin - offset), static_cast<std::size_t>(end - begin)),
                  place);
      continue;
    }
    scratch.resize(static_cast<std::size_t>(end - begin));
    get(begin, scratch);
    check_block(block, scratch, place);
    // What is handed out is what was checked, should the file change in between.
    const std::int64_t from = std::max(begin, offset), to = std::min(end, offset + size);
    std::copy(scratch.begin() + (from - begin), scratch.begin() + (to - begin), out.begin() + (from - offset));
  }
}

}  // namespace headroom::record
