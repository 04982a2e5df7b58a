// SPDX-License-Identifier: Apache-2.0
// The directory behind a record's HDF5 part: where each dataset's chunks lie, and the attributes. The program reads
// records by it alone, since the HDF5 library is not safe on hostile files. Internal to core/record.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace headroom::record {

/// Element types that a record uses; all little-endian. The values are those of the directory.
enum class Element : std::uint8_t { u8, i32, i64, f16, f32, f64 };
inline constexpr int num_elements = 6;
std::size_t size_of(Element element);
const char* name_of(Element element);

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
/// "[3, 4]"; -1 is written as "any".
std::string describe(const Extent& extent);

struct StoredChunk {
  std::int64_t offset = 0;    ///< from the beginning of the file
  std::uint32_t size = 0;     ///< bytes as stored
  std::uint32_t skipped = 0;  ///< bit i: filter i was not applied
};

struct StoredDataset {
  Element element = Element::u8;
  Extent extent, chunk;                                   ///< same rank, 1 to 4
  std::int8_t shuffle = -1, deflate = -1, fletcher = -1;  ///< place in the filter pipeline, or -1
  std::vector<StoredChunk> chunks;                        ///< row-major over the grid of chunks; none where empty
  std::int64_t elements() const;
};

using Attribute = std::variant<std::int64_t, double, std::string>;

struct Directory {
  std::map<std::string, StoredDataset> datasets;                        ///< by absolute path
  std::map<std::pair<std::string, std::string>, Attribute> attributes;  ///< by object path and name
};

std::vector<std::uint8_t> to_bytes(const Directory& directory);
/// Checks everything: chunks lie in [begin, end) without overlap, counts and sizes fit the extents. Throws input
/// errors.
Directory directory_from_bytes(std::span<const std::uint8_t> bytes, std::int64_t begin, std::int64_t end,
                               const std::string& place);
/// Reads the directory of a closed HDF5 file that this program wrote. What a record may not hold is left out.
Directory directory_of_hdf5(const std::filesystem::path& file);

}  // namespace headroom::record
