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
#include "record/crc32c.h"

namespace headroom::record {
namespace {

// The user block, little-endian: text, version, block size, where HDF5 ends, CRC of the list, CRC of this block.
constexpr char seal_text[65] = "Headroom run record. HDF5 begins at byte 512; see docs/record.md";
constexpr std::uint32_t seal_version = 1;

struct Seal {
  char text[64];
  std::uint32_t version, block_bytes;
  std::int64_t end;
  std::uint32_t list_crc, own_crc;
  std::uint8_t unused[424];
};
static_assert(sizeof(Seal) == seal_bytes);

/// A file descriptor that closes itself.
struct Descriptor {
  int value;
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
};

bool read_at(int descriptor, std::int64_t offset, std::uint8_t* out, std::size_t size) {
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

void seal_file(const std::filesystem::path& file) {
  const std::string place = file.string();
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
    if (!read_at(d.value, at, block.data(), size)) throw input_error(place, "cannot be read", {}, std::strerror(errno));
    list.push_back(crc32c({block.data(), size}));
  }
  seal.list_crc = crc32c(bytes_of(list));
  seal.own_crc = own_crc(seal);
  std::memcpy(block.data(), &seal, sizeof seal);
  const auto list_bytes = bytes_of(list);
  if (!write_at(d.value, seal.end, list_bytes.data(), list_bytes.size()) ||
      !write_at(d.value, 0, block.data(), sizeof seal) || ::fsync(d.value) != 0)
    throw input_error(place, "cannot be written (is the disk full?)", {}, std::strerror(errno));
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
  if (seal.own_crc != own_crc(seal) || seal.block_bytes != sealed_block_bytes || seal.end < seal_bytes)
    throw input_error(place, "the first 512 bytes are damaged", "their checksum");
  const std::int64_t size = status.st_size;
  if (seal.end > size || size - seal.end != 4 * num_blocks(seal.end))
    throw input_error(place, "truncated, or changed since it was written",
                      seal.end > (std::int64_t{1} << 60)
                          ? "a plausible size"
                          : std::to_string(seal.end + 4 * num_blocks(seal.end)) + " bytes",
                      std::to_string(size) + " bytes");
  end_ = seal.end;
  checksums_.resize(static_cast<std::size_t>(num_blocks(end_)));
  if (!read_at(guard.value, end_, reinterpret_cast<std::uint8_t*>(checksums_.data()), checksums_.size() * 4) ||
      crc32c(bytes_of(checksums_)) != seal.list_crc)
    throw input_error(place, "the list of checksums is damaged");
  checked_.resize(checksums_.size(), false);
  scratch_.resize(sealed_block_bytes);
  std::swap(descriptor_, guard.value);
}

SealedFile::~SealedFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool SealedFile::check_block(std::int64_t block, std::span<const std::uint8_t> content) {
  const auto index = static_cast<std::size_t>(block);
  if (crc32c(content) != checksums_[index]) {
    const std::int64_t begin = seal_bytes + block * sealed_block_bytes;
    damage_ =
        "bytes " + std::to_string(begin) + " to " + std::to_string(std::min(begin + sealed_block_bytes, end_) - 1);
    return false;
  }
  checked_[index] = true;
  return true;
}

bool SealedFile::read(std::int64_t offset, std::span<std::uint8_t> out) noexcept try {
  if (offset < 0 || offset > end_) return false;
  const std::int64_t wanted = static_cast<std::int64_t>(out.size()), last = std::min(wanted, end_ - offset) + offset;
  std::fill(out.begin() + (last - offset), out.end(), std::uint8_t{0});
  if (last == offset) return true;
  if (!read_at(descriptor_, offset, out.data(), static_cast<std::size_t>(last - offset))) {
    damage_ = "cannot be read any more";
    return false;
  }
  if (last <= seal_bytes) return true;  // the user block was checked when the file was opened
  const std::int64_t first_block = std::max<std::int64_t>(offset - seal_bytes, 0) / sealed_block_bytes;
  for (std::int64_t block = first_block; block <= (last - 1 - seal_bytes) / sealed_block_bytes; ++block) {
    if (checked_[static_cast<std::size_t>(block)]) continue;
    const std::int64_t begin = seal_bytes + block * sealed_block_bytes,
                       end = std::min(begin + sealed_block_bytes, end_);
    if (begin >= offset && end <= last) {
      if (!check_block(block,
                       out.subspan(static_cast<std::size_t>(begin - offset), static_cast<std::size_t>(end - begin))))
        return false;
      continue;
    }
    if (!read_at(descriptor_, begin, scratch_.data(), static_cast<std::size_t>(end - begin)) ||
        !check_block(block, {scratch_.data(), static_cast<std::size_t>(end - begin)}))
      return false;
    // What is handed out is what was checked, should the file change in between.
    const std::int64_t from = std::max(begin, offset), to = std::min(end, last);
    std::copy(scratch_.begin() + (from - begin), scratch_.begin() + (to - begin), out.begin() + (from - offset));
  }
  return true;
} catch (...) {
  return false;
}

}  // namespace headroom::record
