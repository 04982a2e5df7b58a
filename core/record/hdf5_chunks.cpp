// SPDX-License-Identifier: Apache-2.0
// Reads chunks as they are stored and undoes shuffle and gzip here, into buffers of the declared size: HDF5's own
// filters would inflate a hostile chunk to whatever size it grows to.
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "record/hdf5_io.h"

namespace headroom::record::hdf5 {
namespace {

[[noreturn]] void fail(const std::string& place, const std::string& path, const std::string& what,
                       std::string expected = {}, std::string found = {}) {
  throw input_error(place + ":" + path, what, std::move(expected), std::move(found));
}

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
  for (std::size_t byte = 0; byte < element; ++byte)
    for (std::size_t i = 0; i < count; ++i) to[i * element + byte] = from[byte * count + i];
}

/// Copies the part of a chunk that lies inside the wanted box; `box` and `extent` are what `out` covers.
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

void read_raw(const Dataset& dataset, const std::string& path, std::int64_t first_index, void* out,
              const std::string& place) {
  if (dataset.elements() == 0) return;
  const std::size_t rank = dataset.extent.size(), element = size_of(dataset.element);
  Extent box_at(rank, 0), box_size = dataset.extent;
  if (first_index >= 0) {
    if (first_index >= dataset.extent[0]) fail(place, path, "index out of range");
    box_at[0] = first_index;
    box_size[0] = 1;
  }
  std::size_t chunk_bytes = element;
  for (const auto n : dataset.chunk) chunk_bytes *= static_cast<std::size_t>(n);
  std::vector<std::uint8_t> stored, shuffled(chunk_bytes), chunk(chunk_bytes);
  Extent first(rank);
  for (std::size_t i = 0; i < rank; ++i) first[i] = box_at[i] / dataset.chunk[i] * dataset.chunk[i];
  for (Extent at = first;;) {
    const std::vector<hsize_t> offset(at.begin(), at.end());
    hsize_t size = 0;
    if (H5Dget_chunk_storage_size(dataset.handle.get(), offset.data(), &size) < 0 || size == 0)
      fail(place, path, "a chunk is missing or damaged", {}, "chunk at " + describe(at));
    // gzip makes what it cannot shrink a little larger; four bytes of fletcher32 follow.
    const hsize_t most = compressBound(chunk_bytes) + 4;
    if (size > most) fail(place, path, "a chunk is too large", std::to_string(most) + " bytes", std::to_string(size));
    stored.resize(static_cast<std::size_t>(size));
    std::uint32_t skipped = 0;
    if (H5Dread_chunk(dataset.handle.get(), H5P_DEFAULT, offset.data(), &skipped, stored.data()) < 0)
      fail(place, path, "the data are damaged", {}, "chunk at " + describe(at));
    std::span<const std::uint8_t> content = stored;
    const auto applied = [&](int filter) { return filter >= 0 && (skipped >> filter & 1) == 0; };
    // The seal has checked these bytes, so the fletcher32 that other readers use is only taken off.
    if (applied(dataset.fletcher)) content = content.first(content.size() - std::min<std::size_t>(content.size(), 4));
    if (applied(dataset.deflate)) {
      if (!inflate_exactly(content, shuffled))
        fail(place, path, "compressed data are damaged", std::to_string(chunk_bytes) + " bytes",
             "chunk at " + describe(at));
      content = shuffled;
    }
    if (content.size() != chunk_bytes)
      fail(place, path, "a chunk has a wrong size", std::to_string(chunk_bytes), std::to_string(content.size()));
    if (applied(dataset.shuffle)) {
      unshuffle(content, element, chunk.data());
      content = chunk;
    }
    place_chunk(content.data(), at, dataset.chunk, box_at, box_size, element, static_cast<std::uint8_t*>(out));
    std::size_t axis = rank;
    while (axis > 0 && (at[axis - 1] += dataset.chunk[axis - 1]) >= box_at[axis - 1] + box_size[axis - 1]) {
      at[axis - 1] = first[axis - 1];
      --axis;
    }
    if (axis == 0) return;
  }
}

}  // namespace headroom::record::hdf5
