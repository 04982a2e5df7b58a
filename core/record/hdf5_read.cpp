// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "base/error.h"
#include "record/hdf5_io.h"

namespace headroom::record::hdf5 {
namespace {

constexpr std::int64_t max_elements = 1LL << 36;
constexpr std::int64_t max_chunk_bytes = 64LL << 20;
/// zlib cannot shrink further than about 1030 : 1, so a dataset that claims more than its storage can hold is a lie.
constexpr std::int64_t max_ratio = 1100;

const char* name_of(Element element) {
  switch (element) {
    case Element::u8:
      return "uint8";
    case Element::i32:
      return "int32";
    case Element::i64:
      return "int64";
    case Element::f16:
      return "float16";
    case Element::f32:
      return "float32";
    case Element::f64:
      return "float64";
  }
  return "";
}

Error damaged(const std::string& place, const std::string& path, const std::string& message, std::string expected = {},
              std::string found = {}) {
  return input_error(place + ":" + path, message, std::move(expected), std::move(found));
}

std::string name_class(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return "integer";
    case H5T_FLOAT:
      return "float";
    case H5T_STRING:
      return H5Tis_variable_str(type) > 0 ? "variable-length string" : "string";
    case H5T_VLEN:
      return "variable-length";
    case H5T_COMPOUND:
      return "compound";
    default:
      return "another class";
  }
}

void check_storage(Dataset& dataset, const std::string& path, std::int64_t bytes, const std::string& place) {
  const Handle creation(H5Dget_create_plist(dataset.handle.get()), H5Pclose);
  if (!creation) throw damaged(place, path, "damaged dataset header");
  if (H5Pget_layout(creation.get()) != H5D_CHUNKED)
    throw damaged(place, path, "storage layout is not understood", "chunked", "contiguous, virtual or external");
  const int filters = H5Pget_nfilters(creation.get());
  for (int i = 0; i < filters; ++i) {
    unsigned flags = 0, config = 0;
    std::size_t values = 0;
    const H5Z_filter_t filter =
        H5Pget_filter2(creation.get(), static_cast<unsigned>(i), &flags, &values, nullptr, 0, nullptr, &config);
    const bool later = dataset.deflate >= 0 || dataset.fletcher >= 0;
    if (filter == H5Z_FILTER_SHUFFLE && dataset.shuffle < 0 && !later)
      dataset.shuffle = i;
    else if (filter == H5Z_FILTER_DEFLATE && !later)
      dataset.deflate = i;
    else if (filter == H5Z_FILTER_FLETCHER32 && dataset.fletcher < 0)
      dataset.fletcher = i;
    else
      throw damaged(place, path, "filters are not understood", "shuffle, gzip, fletcher32 in this order",
                    "filter " + std::to_string(filter));
  }
  hsize_t chunk[H5S_MAX_RANK] = {};
  if (H5Pget_chunk(creation.get(), H5S_MAX_RANK, chunk) != static_cast<int>(dataset.extent.size()))
    throw damaged(place, path, "damaged chunk layout");
  std::int64_t chunk_bytes = static_cast<std::int64_t>(size_of(dataset.element));
  for (std::size_t i = 0; i < dataset.extent.size(); ++i) {
    if (chunk[i] == 0 || chunk[i] > static_cast<hsize_t>(dataset.extent[i]))
      throw damaged(place, path, "bad chunk size", "1 to " + std::to_string(dataset.extent[i]),
                    std::to_string(chunk[i]));
    dataset.chunk.push_back(static_cast<std::int64_t>(chunk[i]));
    chunk_bytes *= dataset.chunk.back();  // at most the dataset's bytes, which were bounded before
  }
  if (chunk_bytes > max_chunk_bytes)
    throw damaged(place, path, "bad chunk size", std::to_string(max_chunk_bytes) + " bytes",
                  std::to_string(chunk_bytes));
  const hsize_t stored = H5Dget_storage_size(dataset.handle.get());
  const std::int64_t most =
      static_cast<std::int64_t>(std::min<hsize_t>(stored, 1ULL << 40)) * (dataset.deflate >= 0 ? max_ratio : 1);
  if (bytes > most)
    throw damaged(place, path, "the dataset claims more than it stores", std::to_string(bytes) + " bytes",
                  std::to_string(stored) + " stored");
}

Handle open_attribute(hid_t file, const std::string& path, const char* name, const std::string& place) {
  if (!exists(file, path)) throw damaged(place, path, "is missing");
  const Handle object(H5Oopen(file, path.c_str(), H5P_DEFAULT), H5Oclose);
  if (!object || H5Aexists(object.get(), name) <= 0)
    throw damaged(place, path, std::string("attribute \"") + name + "\" is missing");
  Handle attribute(H5Aopen(object.get(), name, H5P_DEFAULT), H5Aclose);
  if (!attribute) throw damaged(place, path, std::string("attribute \"") + name + "\" is damaged");
  const Handle space(H5Aget_space(attribute.get()), H5Sclose);
  if (!space || H5Sget_simple_extent_type(space.get()) != H5S_SCALAR)
    throw damaged(place, path, std::string("attribute \"") + name + "\" is not a scalar");
  return attribute;
}

void read_scalar(hid_t file, const std::string& path, const char* name, Element element, void* out,
                 const std::string& place) {
  const Handle attribute = open_attribute(file, path, name, place);
  const Handle type(H5Aget_type(attribute.get()), H5Tclose);
  const Handle wanted = type_of(element);
  if (!type || H5Tequal(type.get(), wanted.get()) <= 0)
    throw damaged(place, path, std::string("attribute \"") + name + "\" has a wrong type", name_of(element),
                  type ? name_class(type.get()) : "damaged");
  if (H5Aread(attribute.get(), wanted.get(), out) < 0)
    throw damaged(place, path, std::string("attribute \"") + name + "\" cannot be read");
}

}  // namespace

bool exists(hid_t file, const std::string& path) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (H5Lexists(file, part.c_str(), H5P_DEFAULT) <= 0) return false;
    H5L_info_t info;
    // Soft and external links could lead into other files.
    if (H5Lget_info(file, part.c_str(), &info, H5P_DEFAULT) < 0 || info.type != H5L_TYPE_HARD) return false;
    if (end == std::string::npos) return true;
  }
}

Dataset open_dataset(hid_t file, const std::string& path, std::span<const Element> elements, int rank,
                     const std::string& place) {
  if (!exists(file, path)) throw damaged(place, path, "dataset is missing");
  H5O_info_t info;
  if (H5Oget_info_by_name(file, path.c_str(), &info, H5P_DEFAULT) < 0)
    throw damaged(place, path, "damaged object header");
  if (info.type != H5O_TYPE_DATASET) throw damaged(place, path, "not a dataset");
  Dataset dataset;
  dataset.handle = Handle(H5Dopen2(file, path.c_str(), H5P_DEFAULT), H5Dclose);
  if (!dataset.handle) throw damaged(place, path, "damaged dataset header");
  const Handle type(H5Dget_type(dataset.handle.get()), H5Tclose);
  if (!type) throw damaged(place, path, "damaged type");
  const auto element = std::find_if(elements.begin(), elements.end(), [&](Element candidate) {
    return H5Tequal(type.get(), type_of(candidate).get()) > 0;
  });
  if (element == elements.end()) {
    std::string expected;
    for (const Element candidate : elements)
      expected += (expected.empty() ? "" : " or ") + std::string(name_of(candidate));
    throw damaged(place, path, "wrong element type", expected,
                  name_class(type.get()) + " of " + std::to_string(H5Tget_size(type.get())) + " bytes");
  }
  dataset.element = *element;
  const Handle space(H5Dget_space(dataset.handle.get()), H5Sclose);
  if (!space || H5Sis_simple(space.get()) <= 0 || H5Sget_simple_extent_type(space.get()) != H5S_SIMPLE)
    throw damaged(place, path, "damaged extent", "rank " + std::to_string(rank), "scalar or null");
  const int found_rank = H5Sget_simple_extent_ndims(space.get());
  if (found_rank != rank) throw damaged(place, path, "wrong rank", std::to_string(rank), std::to_string(found_rank));
  hsize_t dims[H5S_MAX_RANK] = {};
  H5Sget_simple_extent_dims(space.get(), dims, nullptr);
  std::int64_t count = 1;
  bool empty = false;
  for (int i = 0; i < rank; ++i) {
    if (dims[i] > static_cast<hsize_t>(max_elements))
      throw damaged(place, path, "extent out of range", "at most " + std::to_string(max_elements),
                    std::to_string(dims[i]));
    dataset.extent.push_back(static_cast<std::int64_t>(dims[i]));
    empty = empty || dims[i] == 0;
  }
  for (const auto n : dataset.extent) {
    if (empty) break;
    if (n > max_elements / count) throw damaged(place, path, "extent out of range", {}, describe(dataset.extent));
    count *= n;
  }
  if (!empty) check_storage(dataset, path, count * static_cast<std::int64_t>(size_of(dataset.element)), place);
  return dataset;
}

void check_extent(const Dataset& dataset, const std::string& path, const Extent& expected, std::int64_t limit,
                  const std::string& place) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const bool fits = expected[i] < 0 ? dataset.extent[i] <= limit : dataset.extent[i] == expected[i];
    if (!fits) throw damaged(place, path, "wrong extent", describe(expected), describe(dataset.extent));
  }
}

std::string read_text(hid_t file, const std::string& path, std::int64_t limit, const std::string& place) {
  const auto bytes = read<std::uint8_t>(file, path, {-1}, place, limit);
  return {bytes.begin(), bytes.end()};
}

std::int64_t read_integer(hid_t file, const std::string& path, const char* name, const std::string& place) {
  std::int64_t value = 0;
  read_scalar(file, path, name, Element::i64, &value, place);
  return value;
}

double read_number(hid_t file, const std::string& path, const char* name, const std::string& place) {
  double value = 0;
  read_scalar(file, path, name, Element::f64, &value, place);
  return value;
}

std::string read_short_text(hid_t file, const std::string& path, const char* name, const std::string& place) {
  const Handle attribute = open_attribute(file, path, name, place);
  const Handle type(H5Aget_type(attribute.get()), H5Tclose);
  if (!type || H5Tget_class(type.get()) != H5T_STRING || H5Tis_variable_str(type.get()) != 0)
    throw damaged(place, path, std::string("attribute \"") + name + "\" has a wrong type", "fixed-length string",
                  type ? name_class(type.get()) : "damaged");
  const std::size_t size = H5Tget_size(type.get());
  if (size == 0 || size > 4096) throw damaged(place, path, std::string("attribute \"") + name + "\" is too long");
  std::string value(size, '\0');
  const Handle memory(H5Tcopy(H5T_C_S1), H5Tclose);
  H5Tset_size(memory.get(), size);
  H5Tset_strpad(memory.get(), H5T_STR_NULLPAD);
  if (H5Aread(attribute.get(), memory.get(), value.data()) < 0)
    throw damaged(place, path, std::string("attribute \"") + name + "\" cannot be read");
  value.resize(value.find_last_not_of('\0') + 1);
  return value;
}

}  // namespace headroom::record::hdf5
