// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>

#include "base/output_file.h"
#include "record/chunk_queue.h"
#include "record/hdf5_io.h"

namespace headroom::record::hdf5 {
namespace {

constexpr std::int64_t chunk_elements = 512 * 512;

/// Keeps trailing dimensions whole and cuts the leading ones until a chunk has at most 512 x 512 elements.
std::vector<hsize_t> chunk_of(const Extent& extent) {
  std::vector<hsize_t> chunk(extent.begin(), extent.end());
  std::int64_t count = 1;
  for (const auto n : extent) count *= n;
  for (std::size_t i = 0; i < extent.size() && count > chunk_elements; ++i) {
    const std::int64_t rest = count / extent[i];
    const std::int64_t wanted =
        std::clamp<std::int64_t>(chunk_elements / std::max<std::int64_t>(rest, 1), 1, extent[i]);
    chunk[i] = static_cast<hsize_t>(wanted);
    count = rest * wanted;
  }
  return chunk;
}

/// The library's calls leave in errno what the system said, as far as nothing else has set it since.
[[noreturn]] void fail(hid_t file, const std::string& place, const std::string& path) {
  const int problem = errno;
  hsize_t bytes = 0;
  if (H5Fget_filesize(file, &bytes) < 0) bytes = 0;
  throw write_failure(place, path, problem, static_cast<std::int64_t>(bytes));
}

Handle open_object(hid_t file, const std::string& path, const std::string& place) {
  Handle object(H5Oopen(file, path.c_str(), H5P_DEFAULT), H5Oclose);
  if (!object) fail(file, place, path);
  return object;
}

void write_attribute_raw(hid_t file, const std::string& path, const char* name, hid_t type, const void* value,
                         const std::string& place) {
  const Handle object = open_object(file, path, place);
  if (H5Aexists(object.get(), name) > 0) H5Adelete(object.get(), name);
  const Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Handle attribute(H5Acreate2(object.get(), name, type, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (!attribute || H5Awrite(attribute.get(), type, value) < 0) fail(file, place, path);
}

void remove_link(hid_t file, const std::string& path, const std::string& place) {
  if (H5Lexists(file, path.c_str(), H5P_DEFAULT) <= 0) return;
  write_waiting(file, place);
  H5Ldelete(file, path.c_str(), H5P_DEFAULT);
}

/// A new dataset in the place of an older one, nothing written yet.
Handle create_dataset(hid_t file, const std::string& path, Element element, const Extent& extent,
                      const std::string& place, const Extent& chunk_size = {}) {
  const std::size_t slash = path.rfind('/');
  if (slash != 0) make_group(file, path.substr(0, slash), place);
  remove_link(file, path, place);
  const std::vector<hsize_t> dims(extent.begin(), extent.end());
  const Handle space(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation.get(), 0);  // the same run gives the same bytes
  if (std::find(extent.begin(), extent.end(), 0) == extent.end()) {
    const std::vector<hsize_t> chunk =
        chunk_size.empty() ? chunk_of(extent) : std::vector<hsize_t>(chunk_size.begin(), chunk_size.end());
    H5Pset_chunk(creation.get(), static_cast<int>(chunk.size()), chunk.data());
    if (size_of(element) > 1) H5Pset_shuffle(creation.get());
    H5Pset_deflate(creation.get(), 1);
    H5Pset_fletcher32(creation.get());
  }
  Handle dataset(
      H5Dcreate2(file, path.c_str(), type_of(element).get(), space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT),
      H5Dclose);
  if (!dataset) fail(file, place, path);
  return dataset;
}

/// What is still in the library's cache is written now: a full disk must not be found out by a destructor.
void close_dataset(Handle& dataset, hid_t file, const std::string& place, const std::string& path) {
  if (!dataset.reset()) fail(file, place, path);
}

}  // namespace

Error write_failure(const std::string& place, const std::string& path, int problem, std::int64_t bytes) {
  // Other numbers than these are left over from something else.
  const bool of_disk = problem == ENOSPC || problem == EDQUOT || problem == EFBIG || problem == EIO;
  const std::filesystem::path folder = std::filesystem::path(place).parent_path();
  return write_error(path.empty() ? place : place + ":" + path, of_disk ? problem : 0, bytes, bytes,
                     folder.empty() ? "." : folder);
}

Handle make_group(hid_t file, const std::string& path, const std::string& place) {
  Handle group;
  const Handle creation(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation.get(), 0);  // the same run gives the same bytes
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (H5Lexists(file, part.c_str(), H5P_DEFAULT) > 0)
      group = Handle(H5Gopen2(file, part.c_str(), H5P_DEFAULT), H5Gclose);
    else
      group = Handle(H5Gcreate2(file, part.c_str(), H5P_DEFAULT, creation.get(), H5P_DEFAULT), H5Gclose);
    if (!group) fail(file, place, part);
    if (end == std::string::npos) return group;
  }
}

void write_raw(hid_t file, const std::string& path, Element element, const Extent& extent, const void* data,
               const std::string& place) {
  Handle dataset = create_dataset(file, path, element, extent, place);
  const bool empty = std::find(extent.begin(), extent.end(), 0) != extent.end();
  const Extent begin(extent.size(), 0);
  const auto shared = std::make_shared<Handle>(std::move(dataset));
  if (!empty && wait_with_box(file, shared, path, element, begin, extent, data, place)) return;
  dataset = std::move(*shared);
  if (!empty && H5Dwrite(dataset.get(), type_of(element).get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
    fail(file, place, path);
  close_dataset(dataset, file, place, path);
}

void write_parts(hid_t file, const std::string& path, Element element, const Extent& extent,
                 std::span<const void* const> parts, const std::string& place) {
  Handle dataset = create_dataset(file, path, element, extent, place);
  const Handle type = type_of(element), space(H5Dget_space(dataset.get()), H5Sclose);
  std::vector<hsize_t> begin(extent.size(), 0), count(extent.begin(), extent.end());
  count[0] = 1;
  const Handle memory(H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr), H5Sclose);
  for (const void* part : parts) {
    if (H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, begin.data(), nullptr, count.data(), nullptr) < 0 ||
        H5Dwrite(dataset.get(), type.get(), memory.get(), space.get(), H5P_DEFAULT, part) < 0)
      fail(file, place, path);
    ++begin[0];
  }
  close_dataset(dataset, file, place, path);
}

void create(hid_t file, const std::string& path, Element element, const Extent& extent, const Extent& chunk,
            const std::string& place) {
  Handle dataset = create_dataset(file, path, element, extent, place, chunk);
  close_dataset(dataset, file, place, path);
}

void write_box(hid_t file, const std::string& path, Element element, const Extent& at, const Extent& size,
               const void* data, const std::string& place) {
  Handle dataset(H5Dopen2(file, path.c_str(), H5P_DEFAULT), H5Dclose);
  if (!dataset) fail(file, place, path);
  const auto shared = std::make_shared<Handle>(std::move(dataset));
  if (wait_with_box(file, shared, path, element, at, size, data, place)) return;
  write_waiting(file, place);  // of the same chunk, maybe
  dataset = std::move(*shared);
  const Handle space(H5Dget_space(dataset.get()), H5Sclose);
  const std::vector<hsize_t> begin(at.begin(), at.end()), count(size.begin(), size.end());
  const Handle memory(H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr), H5Sclose);
  if (H5Sselect_hyperslab(space.get(), H5S_SELECT_SET, begin.data(), nullptr, count.data(), nullptr) < 0 ||
      H5Dwrite(dataset.get(), type_of(element).get(), memory.get(), space.get(), H5P_DEFAULT, data) < 0)
    fail(file, place, path);
  close_dataset(dataset, file, place, path);
}

void write_chunked(hid_t file, const std::string& path, Element element, const Extent& extent, const Extent& chunk,
                   const void* data, const std::string& place) {
  create(file, path, element, extent, chunk, place);
  if (std::find(extent.begin(), extent.end(), 0) == extent.end())
    write_box(file, path, element, Extent(extent.size(), 0), extent, data, place);
}

void remove(hid_t file, const std::string& path) {
  remove_link(file, path, path);
}

void write_text(hid_t file, const std::string& path, const std::string& text, const std::string& place) {
  write_raw(file, path, Element::u8, {static_cast<std::int64_t>(text.size())}, text.data(), place);
}

void write_attribute(hid_t file, const std::string& path, const char* name, std::int64_t value,
                     const std::string& place) {
  write_attribute_raw(file, path, name, type_of(Element::i64).get(), &value, place);
}

void write_attribute(hid_t file, const std::string& path, const char* name, double value, const std::string& place) {
  write_attribute_raw(file, path, name, type_of(Element::f64).get(), &value, place);
}

void write_attribute(hid_t file, const std::string& path, const char* name, const std::string& value,
                     const std::string& place) {
  const Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(type.get(), std::max<std::size_t>(value.size(), 1));
  H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
  const std::string padded = value.empty() ? std::string(1, '\0') : value;
  write_attribute_raw(file, path, name, type.get(), padded.data(), place);
}

}  // namespace headroom::record::hdf5
