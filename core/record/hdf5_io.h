// SPDX-License-Identifier: Apache-2.0
// How this layer writes HDF5: owned handles, one lock around the library, fixed-length types alone. Reading goes by the
// directory (directory.h). Internal to core/record.
#pragma once

#include <hdf5.h>

#include <cstdint>
#include <mutex>
#include <span>
#include <string>

#include "base/error.h"
#include "record/directory.h"

namespace headroom::record::hdf5 {

/// Holds the library lock (HDF5 is not safe for threads) and keeps its error stack from printing.
class Library {
 public:
  Library();

 private:
  std::unique_lock<std::mutex> lock_;
};

/// An HDF5 identifier that closes itself. Only ever created and destroyed under a Library lock.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(other.id_), close_(other.close_) { other.id_ = -1; }
  Handle& operator=(Handle&& other) noexcept;
  ~Handle() { reset(); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  hid_t get() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }
  /// False where closing failed, which for a file that was written may be a full disk.
  bool reset();

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

/// A new handle to the type on disk, which is also the type in memory (f16 is kept as its 16 bits).
Handle type_of(Element element);
/// Switches file locking off in a file access list: cluster file systems often have none.
void forget_locks(hid_t access);

// `place` names the file in errors.

/// What a full disk, or another failure to write, is told as; `bytes`: how large the file is so far. `problem`: errno.
Error write_failure(const std::string& place, const std::string& path, int problem, std::int64_t bytes);
/// Opens or creates the group at an absolute path, with its parents.
Handle make_group(hid_t file, const std::string& path, const std::string& place);
/// Creates or replaces a dataset: chunks of about 512 x 512 elements, shuffle, gzip 1, fletcher32.
void write_raw(hid_t file, const std::string& path, Element element, const Extent& extent, const void* data,
               const std::string& place);
template <typename T>
void write(hid_t file, const std::string& path, const Extent& extent, std::span<const T> data,
           const std::string& place) {
  write_raw(file, path, ElementOf<T>::value, extent, data.data(), place);
}
/// The same from one piece for each index of the first dimension, in order.
void write_parts(hid_t file, const std::string& path, Element element, const Extent& extent,
                 std::span<const void* const> parts, const std::string& place);
/// A group or dataset that may be there: what was written of it is lost.
void remove(hid_t file, const std::string& path);
/// A dataset in chunks of that size, to be filled by write_box(): every chunk has to be.
void create(hid_t file, const std::string& path, Element element, const Extent& extent, const Extent& chunk,
            const std::string& place);
/// Writes the box [at, at + size) of a dataset that there is.
void write_box(hid_t file, const std::string& path, Element element, const Extent& at, const Extent& size,
               const void* data, const std::string& place);
/// The same as write() in chunks of that size.
void write_chunked(hid_t file, const std::string& path, Element element, const Extent& extent, const Extent& chunk,
                   const void* data, const std::string& place);
void write_text(hid_t file, const std::string& path, const std::string& text, const std::string& place);
void write_attribute(hid_t file, const std::string& path, const char* name, std::int64_t value,
                     const std::string& place);
void write_attribute(hid_t file, const std::string& path, const char* name, double value, const std::string& place);
/// Fixed-length ASCII.
void write_attribute(hid_t file, const std::string& path, const char* name, const std::string& value,
                     const std::string& place);

}  // namespace headroom::record::hdf5
