// SPDX-License-Identifier: Apache-2.0
// Walks a finished HDF5 file for its directory. Only run on files that this program has just written (and by tests).
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "record/directory.h"
#include "record/hdf5_io.h"

namespace headroom::record {
namespace {

using hdf5::Handle;

struct Walk {
  Directory directory;
  std::int64_t user_block = 0;
  std::int64_t base = -1;  ///< what to add to HDF5's chunk addresses; -1: not known yet
  int descriptor = -1;
  ~Walk() {
    if (descriptor >= 0) ::close(descriptor);
  }
};

/// Some versions of HDF5 count chunk addresses from the user block's end, others from the file's beginning: finds out
/// by looking where a chunk's bytes are.
bool find_base(Walk& walk, hid_t dataset, const std::vector<hsize_t>& at, haddr_t address, hsize_t size) {
  std::vector<char> chunk(size), found(size);
  std::uint32_t skipped = 0;
  if (H5Dread_chunk(dataset, H5P_DEFAULT, at.data(), &skipped, chunk.data()) < 0) return false;
  for (const auto base : {walk.user_block, std::int64_t{0}}) {
    const ssize_t count = ::pread(walk.descriptor, found.data(), size, static_cast<off_t>(address) + base);
    if (count == static_cast<ssize_t>(size) && found == chunk) {
      walk.base = base;
      return true;
    }
  }
  return false;
}

bool read_filters(hid_t creation, StoredDataset& d) {
  const int filters = H5Pget_nfilters(creation);
  for (int i = 0; i < filters; ++i) {
    unsigned flags = 0, config = 0;
    std::size_t values = 0;
    const bool later = d.deflate >= 0 || d.fletcher >= 0;
    switch (H5Pget_filter2(creation, static_cast<unsigned>(i), &flags, &values, nullptr, 0, nullptr, &config)) {
      case H5Z_FILTER_SHUFFLE:
        if (later) return false;
        d.shuffle = static_cast<std::int8_t>(i);
        break;
      case H5Z_FILTER_DEFLATE:
        if (later) return false;
        d.deflate = static_cast<std::int8_t>(i);
        break;
      case H5Z_FILTER_FLETCHER32:
        d.fletcher = static_cast<std::int8_t>(i);
        break;
      default:
        return false;
    }
  }
  return filters <= 3;
}

/// False for what a record may not hold.
bool read_dataset(Walk& walk, hid_t dataset, StoredDataset& d) {
  const Handle type(H5Dget_type(dataset), H5Tclose), space(H5Dget_space(dataset), H5Sclose);
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  int element = 0;
  while (element < num_elements && H5Tequal(type.get(), hdf5::type_of(static_cast<Element>(element)).get()) <= 0)
    ++element;
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (element == num_elements || rank < 1 || rank > 4) return false;
  d.element = static_cast<Element>(element);
  hsize_t extent[4] = {}, chunk[4] = {};
  H5Sget_simple_extent_dims(space.get(), extent, nullptr);
  d.extent.assign(extent, extent + rank);
  d.chunk.assign(static_cast<std::size_t>(rank), 1);
  if (std::find(d.extent.begin(), d.extent.end(), 0) != d.extent.end()) return true;
  if (H5Pget_layout(creation.get()) != H5D_CHUNKED || !read_filters(creation.get(), d)) return false;
  H5Pget_chunk(creation.get(), rank, chunk);
  d.chunk.assign(chunk, chunk + rank);
  for (std::vector<hsize_t> at(static_cast<std::size_t>(rank), 0);;) {
    StoredChunk stored;
    unsigned skipped = 0;
    haddr_t address = HADDR_UNDEF;
    hsize_t size = 0;
    if (H5Dget_chunk_info_by_coord(dataset, at.data(), &skipped, &address, &size) < 0 || address == HADDR_UNDEF)
      return false;
    if (walk.base < 0 && !find_base(walk, dataset, at, address, size)) return false;
    stored.offset = static_cast<std::int64_t>(address) + walk.base;
    stored.size = static_cast<std::uint32_t>(size);
    stored.skipped = skipped;
    d.chunks.push_back(stored);
    int axis = rank;
    while (axis > 0 && (at[static_cast<std::size_t>(axis - 1)] += chunk[axis - 1]) >= extent[axis - 1])
      at[static_cast<std::size_t>(--axis)] = 0;
    if (axis == 0) return true;
  }
}

bool read_attribute(hid_t object, const char* name, Attribute& value) {
  const Handle attribute(H5Aopen(object, name, H5P_DEFAULT), H5Aclose);
  const Handle type(H5Aget_type(attribute.get()), H5Tclose), space(H5Aget_space(attribute.get()), H5Sclose);
  if (H5Sget_simple_extent_type(space.get()) != H5S_SCALAR) return false;
  if (H5Tequal(type.get(), H5T_STD_I64LE) > 0) {
    std::int64_t integer = 0;
    H5Aread(attribute.get(), type.get(), &integer);
    value = integer;
    return true;
  }
  if (H5Tequal(type.get(), H5T_IEEE_F64LE) > 0) {
    double number = 0;
    H5Aread(attribute.get(), type.get(), &number);
    value = number;
    return true;
  }
  if (H5Tget_class(type.get()) != H5T_STRING || H5Tis_variable_str(type.get()) != 0) return false;
  std::string text(H5Tget_size(type.get()), '\0');
  if (text.size() > 4096 || H5Aread(attribute.get(), type.get(), text.data()) < 0) return false;
  text.resize(text.find_last_not_of('\0') + 1);
  value = text;
  return true;
}

herr_t visit(hid_t root, const char* name, const H5L_info_t* link, void* data) {
  auto& walk = *static_cast<Walk*>(data);
  if (link->type != H5L_TYPE_HARD) return 0;
  const std::string path = "/" + std::string(name);
  const Handle object(H5Oopen(root, name, H5P_DEFAULT), H5Oclose);
  if (!object) return 0;
  if (H5Iget_type(object.get()) == H5I_DATASET) {
    StoredDataset dataset;
    if (read_dataset(walk, object.get(), dataset)) walk.directory.datasets.emplace(path, std::move(dataset));
  }
  const int attributes = H5Aget_num_attrs(object.get());
  for (int i = 0; i < attributes; ++i) {
    char attribute[256] = {};
    Attribute value;
    if (H5Aget_name_by_idx(object.get(), ".", H5_INDEX_NAME, H5_ITER_INC, static_cast<hsize_t>(i), attribute,
                           sizeof attribute, H5P_DEFAULT) > 0 &&
        read_attribute(object.get(), attribute, value))
      walk.directory.attributes.emplace(std::pair(path, std::string(attribute)), std::move(value));
  }
  return 0;
}

}  // namespace

Directory directory_of_hdf5(const std::filesystem::path& file) {
  const hdf5::Library library;
  const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  hdf5::forget_locks(access.get());
  const Handle handle(H5Fopen(file.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
  Walk walk;
  if (handle) {
    const Handle creation(H5Fget_create_plist(handle.get()), H5Pclose);
    hsize_t bytes = 0;
    H5Pget_userblock(creation.get(), &bytes);
    walk.user_block = static_cast<std::int64_t>(bytes);
  }
  walk.descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (!handle || walk.descriptor < 0 || H5Lvisit(handle.get(), H5_INDEX_NAME, H5_ITER_INC, visit, &walk) < 0)
    throw input_error(file.string(), "the record that was just written cannot be read");
  return std::move(walk.directory);
}

}  // namespace headroom::record
