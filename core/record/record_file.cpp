// SPDX-License-Identifier: Apache-2.0
#include "record/record_file.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "record/half.h"

namespace headroom::record {
namespace {

/// True where `from` inflates to exactly `to.size()` bytes.
bool inflate_exactly(std::span<const std::uint8_t> from, std::span<std::uint8_t> to) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return false;
  stream.next_in = const_cast<Bytef*>(from.data());
  stream.avail_in = static_cast<uInt>(from.size());
  stream.next_out = to.data();
  stream.avail_out = static_cast<uInt>(to.size());
  const int status = inflate(&stream, Z_FINISH);
  const bool whole = status == Z_STREAM_END && stream.avail_out == 0;
  inflateEnd(&stream);
  return whole;
}

void unshuffle(std::span<const std::uint8_t> from, std::size_t element, std::uint8_t* to) {
  const std::size_t count = from.size() / element;
  const std::uint8_t* part = from.data();
  if (element == 2) {
    for (std::size_t i = 0; i < count; ++i) {
      to[2 * i] = part[i];
      to[2 * i + 1] = part[count + i];
    }
    return;
  }
  if (element == 4) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint32_t value = part[i] | part[count + i] << 8 | part[2 * count + i] << 16 |
                                  static_cast<std::uint32_t>(part[3 * count + i]) << 24;
      std::memcpy(to + 4 * i, &value, 4);
    }
    return;
  }
  for (std::size_t byte = 0; byte < element; ++byte)
    for (std::size_t i = 0; i < count; ++i) to[i * element + byte] = from[byte * count + i];
}

/// Copies the part of a chunk that lies inside the wanted box, which is what `out` covers.
void place_chunk(const std::uint8_t* chunk, const Extent& chunk_at, const Extent& chunk_size, const Extent& box_at,
                 const Extent& box_size, std::size_t element, std::uint8_t* out) {
  const std::size_t rank = chunk_size.size();
  Extent begin(rank), end(rank);
  for (std::size_t i = 0; i < rank; ++i) {
    begin[i] = std::max(chunk_at[i], box_at[i]);
    end[i] = std::min(chunk_at[i] + chunk_size[i], box_at[i] + box_size[i]);
    if (begin[i] >= end[i]) return;
  }
  const std::size_t run = static_cast<std::size_t>(end.back() - begin.back()) * element;
  for (Extent at = begin;;) {
    std::int64_t from = 0, to = 0;
    for (std::size_t i = 0; i < rank; ++i) {
      from = from * chunk_size[i] + at[i] - chunk_at[i];
      to = to * box_size[i] + at[i] - box_at[i];
    }
    std::memcpy(out + static_cast<std::size_t>(to) * element, chunk + static_cast<std::size_t>(from) * element, run);
    std::size_t axis = rank - 1;  // the last axis was copied as one run
    while (axis > 0 && ++at[axis - 1] == end[axis - 1]) {
      at[axis - 1] = begin[axis - 1];
      --axis;
    }
    if (axis == 0) return;
  }
}

}  // namespace

RecordFile::RecordFile(const std::filesystem::path& file) : place_(file.string()), file_(file) {
  directory_ = directory_from_bytes(file_.directory(), seal_bytes, file_.end(), place_);
}

const StoredDataset& RecordFile::find(const std::string& path, std::span<const Element> elements,
                                      const Extent& expected, std::int64_t limit) const {
  const auto found = directory_.datasets.find(path);
  if (found == directory_.datasets.end()) throw input_error(place_ + ":" + path, "dataset is missing");
  const StoredDataset& dataset = found->second;
  if (std::find(elements.begin(), elements.end(), dataset.element) == elements.end()) {
    std::string names;
    for (const Element element : elements) names += (names.empty() ? "" : " or ") + std::string(name_of(element));
    throw input_error(place_ + ":" + path, "wrong element type", names, name_of(dataset.element));
  }
  bool fits = dataset.extent.size() == expected.size();
  for (std::size_t i = 0; fits && i < expected.size(); ++i)
    fits = expected[i] < 0 ? dataset.extent[i] <= limit : dataset.extent[i] == expected[i];
  if (!fits) throw input_error(place_ + ":" + path, "wrong extent", describe(expected), describe(dataset.extent));
  return dataset;
}

void RecordFile::read(const StoredDataset& dataset, const std::string& path, std::int64_t first_index,
                      void* out) const {
  Extent at(dataset.extent.size(), 0), size = dataset.extent;
  if (first_index >= 0 && dataset.elements() > 0) {
    if (first_index >= dataset.extent[0]) throw Error(ErrorKind::internal, "index out of range in " + path);
    at[0] = first_index;
    size[0] = 1;
  }
  read_box(dataset, path, at, size, out);
}

void RecordFile::read_box(const StoredDataset& dataset, const std::string& path, const Extent& box_at,
                          const Extent& box_size, void* out) const {
  const std::size_t rank = dataset.extent.size(), element = size_of(dataset.element);
  if (std::find(box_size.begin(), box_size.end(), 0) != box_size.end()) return;
  std::size_t chunk_bytes = element;
  Extent first(rank), last(rank), grid(rank);  // in chunks
  for (std::size_t i = 0; i < rank; ++i) {
    if (box_at[i] < 0 || box_size[i] < 0 || box_at[i] > dataset.extent[i] - box_size[i])
      throw Error(ErrorKind::internal, "a box lies outside of " + path);
    chunk_bytes *= static_cast<std::size_t>(dataset.chunk[i]);
    first[i] = box_at[i] / dataset.chunk[i];
    last[i] = (box_at[i] + box_size[i] - 1) / dataset.chunk[i];
    grid[i] = (dataset.extent[i] + dataset.chunk[i] - 1) / dataset.chunk[i];
  }
  ChunkBuffers buffers{{}, std::vector<std::uint8_t>(chunk_bytes), std::vector<std::uint8_t>(chunk_bytes)};
  for (Extent place = first;;) {
    std::int64_t number = 0;
    Extent at(rank);
    for (std::size_t i = 0; i < rank; ++i) {
      number = number * grid[i] + place[i];
      at[i] = place[i] * dataset.chunk[i];
    }
    const auto content = undo(dataset, dataset.chunks[static_cast<std::size_t>(number)], path, at, buffers);
    place_chunk(content.data(), at, dataset.chunk, box_at, box_size, element, static_cast<std::uint8_t*>(out));
    std::size_t axis = rank;
    while (axis > 0 && ++place[axis - 1] > last[axis - 1]) {
      place[axis - 1] = first[axis - 1];
      --axis;
    }
    if (axis == 0) return;
  }
}

std::span<const std::uint8_t> RecordFile::undo(const StoredDataset& dataset, const StoredChunk& chunk,
                                               const std::string& path, const Extent& at, ChunkBuffers& buffers) const {
  const std::string place = place_ + ":" + path;
  const std::size_t chunk_bytes = buffers.plain.size();
  buffers.stored.resize(chunk.size);
  file_.read(chunk.offset, buffers.stored, place);
  std::span<const std::uint8_t> content = buffers.stored;
  const auto applied = [&](int filter) { return filter >= 0 && (chunk.skipped >> filter & 1) == 0; };
  // The seal has checked these bytes, so the fletcher32 that other readers use is only taken off.
  if (applied(dataset.fletcher)) content = content.first(content.size() - std::min<std::size_t>(content.size(), 4));
  if (applied(dataset.deflate)) {
    if (!inflate_exactly(content, buffers.inflated))
      throw input_error(place, "compressed data are damaged", std::to_string(chunk_bytes) + " bytes",
                        "chunk at " + describe(at));
    content = buffers.inflated;
  }
  if (content.size() != chunk_bytes)
    throw input_error(place, "a chunk has a wrong size", std::to_string(chunk_bytes), std::to_string(content.size()));
  if (applied(dataset.shuffle)) {
    unshuffle(content, size_of(dataset.element), buffers.plain.data());
    content = buffers.plain;
  }
  return content;
}

std::vector<float> RecordFile::read_floats(const std::string& path, const Extent& expected) const {
  const Element either[] = {Element::f16, Element::f32};
  const StoredDataset& dataset = find(path, either, expected);
  std::vector<float> values(static_cast<std::size_t>(dataset.elements()));
  if (dataset.element == Element::f32) {
    read(dataset, path, -1, values.data());
  } else {
    std::vector<std::uint16_t> halves(values.size());
    read(dataset, path, -1, halves.data());
    from_half(halves, values.data());
  }
  return values;
}

std::string RecordFile::read_text(const std::string& path, std::int64_t limit) const {
  const auto bytes = read_all<std::uint8_t>(path, {-1}, limit);
  return {bytes.begin(), bytes.end()};
}

const Attribute& RecordFile::find_attribute(const std::string& path, const char* name) const {
  const auto found = directory_.attributes.find({path, name});
  if (found == directory_.attributes.end())
    throw input_error(place_ + ":" + path, std::string("attribute \"") + name + "\" is missing");
  return found->second;
}

void RecordFile::wrong_attribute(const std::string& path, const char* name) const {
  throw input_error(place_ + ":" + path, std::string("attribute \"") + name + "\" has a wrong type");
}

}  // namespace headroom::record
