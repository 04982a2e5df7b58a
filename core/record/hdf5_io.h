// SPDX-License-Identifier: Apache-2.0
// The only way this layer talks to HDF5: owned handles, one lock around the library, fixed-length types alone, and
// reads that check class, size, rank and extent before a byte is allocated. Internal to core/record.
#pragma once

#include <hdf5.h>

#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

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

/// Element types that a record uses; all little-endian.
enum class Element { u8, i32, i64, f16, f32, f64 };
std::size_t size_of(Element element);
/// A new handle to the type on disk, which is also the type in memory (f16 is kept as its 16 bits).
Handle type_of(Element element);

template <typename T>
struct ElementOf;
template <>
struct ElementOf<std::uint8_t> {
  static constexpr Element value = Element::u8;
};
template <>
struct ElementOf<std::int32_t> {
  static constexpr Element value = Element::i32;
};
template <>
struct ElementOf<std::int64_t> {
  static constexpr Element value = Element::i64;
};
template <>
struct ElementOf<std::uint16_t> {
  static constexpr Element value = Element::f16;
};
template <>
struct ElementOf<float> {
  static constexpr Element value = Element::f32;
};
template <>
struct ElementOf<double> {
  static constexpr Element value = Element::f64;
};

using Extent = std::vector<std::int64_t>;

// ---- writing: `place` names the file in errors --------------------------------------------------------------------
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
void write_text(hid_t file, const std::string& path, const std::string& text, const std::string& place);
void write_attribute(hid_t file, const std::string& path, const char* name, std::int64_t value,
                     const std::string& place);
void write_attribute(hid_t file, const std::string& path, const char* name, double value, const std::string& place);
/// Fixed-length ASCII.
void write_attribute(hid_t file, const std::string& path, const char* name, const std::string& value,
                     const std::string& place);
void remove_link(hid_t file, const std::string& path);

// ---- reading: every function throws input errors that name file and dataset ---------------------------------------
/// A path as "/a/b", each part a hard link.
bool exists(hid_t file, const std::string& path);
/// What a dataset was found to be; its handle stays open.
struct Dataset {
  Handle handle;
  Extent extent;
  Element element = Element::u8;
  Extent chunk;                                   ///< of non-empty datasets
  int shuffle = -1, deflate = -1, fletcher = -1;  ///< place in the filter pipeline, or -1
  std::int64_t elements() const;
};
/// Opens and checks a dataset: hard links only, one of `elements`, `rank`, chunked, plausible storage, no filters but
/// shuffle, gzip and fletcher32 in this order.
Dataset open_dataset(hid_t file, const std::string& path, std::span<const Element> elements, int rank,
                     const std::string& place);
/// Throws unless the extent is the expected one; -1 accepts 0 … `limit`.
void check_extent(const Dataset& dataset, const std::string& path, const Extent& expected, std::int64_t limit,
                  const std::string& place);
/// Reads everything, or one index of the first dimension where `first_index` >= 0.
void read_raw(const Dataset& dataset, const std::string& path, std::int64_t first_index, void* out,
              const std::string& place);

template <typename T>
std::vector<T> read(hid_t file, const std::string& path, const Extent& expected, const std::string& place,
                    std::int64_t limit = 0) {
  const Element element[] = {ElementOf<T>::value};
  const Dataset dataset = open_dataset(file, path, element, static_cast<int>(expected.size()), place);
  check_extent(dataset, path, expected, limit, place);
  std::vector<T> values(static_cast<std::size_t>(dataset.elements()));
  read_raw(dataset, path, -1, values.data(), place);
  return values;
}
std::string read_text(hid_t file, const std::string& path, std::int64_t limit, const std::string& place);
std::int64_t read_integer(hid_t file, const std::string& path, const char* name, const std::string& place);
double read_number(hid_t file, const std::string& path, const char* name, const std::string& place);
std::string read_short_text(hid_t file, const std::string& path, const char* name, const std::string& place);

std::string describe(const Extent& extent);

}  // namespace headroom::record::hdf5
