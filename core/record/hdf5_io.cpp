// SPDX-License-Identifier: Apache-2.0
#include "record/hdf5_io.h"

#include <utility>

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

void forget_locks(hid_t access) {
#if H5_VERSION_GE(1, 10, 7)
  H5Pset_file_locking(access, false, true);
#else
  (void)access;
#endif
}

}  // namespace headroom::record::hdf5
