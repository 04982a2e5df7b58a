// SPDX-License-Identifier: Apache-2.0
#include "record/hdf5_io.h"

#include <utility>

#include "base/error.h"

namespace headroom::record::hdf5 {
namespace {

std::mutex& library_mutex() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace

Library::Library() : lock_(library_mutex()) {
  static const bool once = [] {
    H5dont_atexit();  // records may live in objects that are destroyed later than HDF5 would end
    H5open();
    // Filters come with the library or not at all: a record must not be able to load code.
    H5PLset_loading_state(0);
    return true;
  }();
  (void)once;
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Handle& Handle::operator=(Handle&& other) noexcept {
  if (this != &other) {
    reset();
    id_ = other.id_;
    close_ = other.close_;
    other.id_ = -1;
  }
  return *this;
}

bool Handle::reset() {
  const hid_t id = std::exchange(id_, -1);
  return id < 0 || !close_ || close_(id) >= 0;
}

std::size_t size_of(Element element) {
  switch (element) {
    case Element::u8:
      return 1;
    case Element::f16:
      return 2;
    case Element::i32:
    case Element::f32:
      return 4;
    case Element::i64:
    case Element::f64:
      return 8;
  }
  return 0;
}

Handle type_of(Element element) {
  hid_t base = H5T_STD_U8LE;
  switch (element) {
    case Element::u8:
      break;
    case Element::i32:
      base = H5T_STD_I32LE;
      break;
    case Element::i64:
      base = H5T_STD_I64LE;
      break;
    case Element::f16:
    case Element::f32:
      base = H5T_IEEE_F32LE;
      break;
    case Element::f64:
      base = H5T_IEEE_F64LE;
      break;
  }
  Handle type(H5Tcopy(base), H5Tclose);
  if (element == Element::f16) {  // IEEE binary16; HDF5 1.10 has no name for it
    H5Tset_fields(type.get(), 15, 10, 5, 0, 10);
    H5Tset_size(type.get(), 2);
    H5Tset_ebias(type.get(), 15);
  }
  return type;
}

std::int64_t Dataset::elements() const {
  std::int64_t count = 1;
  for (const auto n : extent) count *= n;
  return count;
}

std::string describe(const Extent& extent) {
  std::string text = "[";
  for (std::size_t i = 0; i < extent.size(); ++i)
    text += (i ? ", " : "") + (extent[i] < 0 ? std::string("any") : std::to_string(extent[i]));
  return text + "]";
}

}  // namespace headroom::record::hdf5
