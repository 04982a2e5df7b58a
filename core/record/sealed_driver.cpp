// SPDX-License-Identifier: Apache-2.0
// An HDF5 file driver that reads through a SealedFile and never writes.
#include <hdf5.h>
#if H5_VERSION_GE(1, 13, 2)
#include <H5FDdevelop.h>
#endif

#include <new>

#include "record/sealed_file.h"

namespace headroom::record {
namespace {

struct DriverFile {
  H5FD_t base;  // the library's part comes first
  SealedFile* file;
  haddr_t allocated;
};

SealedFile* file_of(hid_t access) {
  const void* info = H5Pget_driver_info(access);
  return info ? *static_cast<SealedFile* const*>(info) : nullptr;
}

H5FD_t* open_driver(const char*, unsigned flags, hid_t access, haddr_t) {
  SealedFile* file = file_of(access);
  if (!file || (flags & H5F_ACC_RDWR)) return nullptr;
  auto* driver = new (std::nothrow) DriverFile{};
  if (!driver) return nullptr;
  driver->file = file;
  return &driver->base;
}

herr_t close_driver(H5FD_t* file) {
  delete reinterpret_cast<DriverFile*>(file);
  return 0;
}

herr_t query_driver(const H5FD_t*, unsigned long* flags) {
  if (flags) *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA_READ | H5FD_FEAT_DATA_SIEVE;
  return 0;
}

haddr_t get_allocated(const H5FD_t* file, H5FD_mem_t) {
  return reinterpret_cast<const DriverFile*>(file)->allocated;
}

herr_t set_allocated(H5FD_t* file, H5FD_mem_t, haddr_t address) {
  reinterpret_cast<DriverFile*>(file)->allocated = address;
  return 0;
}

haddr_t get_end(const H5FD_t* file, H5FD_mem_t) {
  return static_cast<haddr_t>(reinterpret_cast<const DriverFile*>(file)->file->end());
}

herr_t read_driver(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, size_t size, void* buffer) {
  const auto* driver = reinterpret_cast<const DriverFile*>(file);
  const auto end = static_cast<haddr_t>(driver->file->end());
  if (address == HADDR_UNDEF || address > end || size > driver->allocated || address > driver->allocated - size)
    return -1;
  return driver->file->read(static_cast<std::int64_t>(address), {static_cast<std::uint8_t*>(buffer), size}) ? 0 : -1;
}

herr_t write_driver(H5FD_t*, H5FD_mem_t, hid_t, haddr_t, size_t, const void*) {
  return -1;
}

hid_t register_driver() {
  static H5FD_class_t driver{};
#if H5_VERSION_GE(1, 13, 2)
  driver.version = H5FD_CLASS_VERSION;
  driver.value = static_cast<H5FD_class_value_t>(400);  // of the range left to applications
#endif
  driver.name = "headroom_sealed";
  driver.maxaddr = (haddr_t{1} << 62) - 1;
  driver.fc_degree = H5F_CLOSE_WEAK;
  driver.fapl_size = sizeof(SealedFile*);
  driver.open = open_driver;
  driver.close = close_driver;
  driver.query = query_driver;
  driver.get_eoa = get_allocated;
  driver.set_eoa = set_allocated;
  driver.get_eof = get_end;
  driver.read = read_driver;
  driver.write = write_driver;
  const H5FD_mem_t map[] = H5FD_FLMAP_DICHOTOMY;
  for (int i = 0; i < H5FD_MEM_NTYPES; ++i) driver.fl_map[i] = map[i];
  return H5FDregister(&driver);
}

}  // namespace

bool SealedFile::set_driver(hid_t access) {
  static const hid_t driver = register_driver();
  SealedFile* self = this;
  return driver >= 0 && H5Pset_driver(access, driver, &self) >= 0;
}

}  // namespace headroom::record
