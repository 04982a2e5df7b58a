// SPDX-License-Identifier: Apache-2.0
#include "record/chunk_queue.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <deque>
#include <future>
#include <map>
#include <system_error>
#include <thread>
#include <vector>

namespace headroom::record::hdf5 {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct FilteredChunk {
  Bytes bytes;
  std::uint32_t mask = 0;  ///< bit i: filter i was left out
};
struct WaitingChunk {
  std::shared_ptr<Handle> dataset;
  std::string path;
  std::vector<hsize_t> offset;
  std::future<FilteredChunk> filtered;
};
struct ChunkFile {
  std::deque<WaitingChunk> waiting;
};

std::map<hid_t, ChunkFile>& chunk_files() {
  static std::map<hid_t, ChunkFile> files;
  return files;
}

std::size_t most_waiting() {
  return std::clamp(std::thread::hardware_concurrency(), 1u, 32u);
}

/// The first bytes of all elements, then the second ones …
Bytes shuffled(const Bytes& from, std::size_t element) {
  Bytes to(from.size());
  const std::size_t count = from.size() / element;
  for (std::size_t byte = 0; byte < element; ++byte) {
    std::uint8_t* out = to.data() + byte * count;
    for (std::size_t i = 0; i < count; ++i) out[i] = from[i * element + byte];
  }
  return to;
}

/// Fletcher's checksum over words of two bytes, the first one high, folded as HDF5 does: a sum of 65535 stays that.
std::uint32_t fletcher32(const Bytes& bytes) {
  std::uint32_t low = 0, high = 0;
  const auto fold = [](std::uint32_t sum) { return (sum & 0xffffu) + (sum >> 16); };
  constexpr std::size_t run = 360;  // words whose sums fit into 32 bits
  const std::size_t words = bytes.size() / 2;
  for (std::size_t word = 0; word < words;) {
    for (const std::size_t end = std::min(words, word + run); word < end; ++word) {
      low += static_cast<std::uint32_t>(bytes[2 * word] << 8 | bytes[2 * word + 1]);
      high += low;
    }
    low = fold(low);
    high = fold(high);
  }
  if (bytes.size() % 2 != 0) {
    low += static_cast<std::uint32_t>(bytes.back() << 8);
    high += low;
    low = fold(low);
    high = fold(high);
  }
  return fold(high) << 16 | fold(low);
}

/// Filters in the order of create_dataset() (hdf5_write.cpp): shuffle for elements of several bytes, gzip, checksum.
FilteredChunk filter_chunk(Bytes raw, std::size_t element) {
  FilteredChunk result;
  std::uint32_t number = 0;
  if (element > 1) {
    raw = shuffled(raw, element);
    ++number;
  }
  // The room that the library gives: what does not fit is stored as it is.
  uLongf room = static_cast<uLongf>((raw.size() * 1001 + 999) / 1000 + 12);
  result.bytes.resize(room);
  if (compress2(result.bytes.data(), &room, raw.data(), static_cast<uLong>(raw.size()), 1) == Z_OK) {
    result.bytes.resize(room);
  } else {
    result.bytes = std::move(raw);
    result.mask |= 1u << number;
  }
  const std::uint32_t sum = fletcher32(result.bytes);
  for (int shift = 0; shift < 32; shift += 8) result.bytes.push_back(static_cast<std::uint8_t>(sum >> shift));
  return result;
}

/// By a thread of its own; where there is none to be had, when it is asked for.
std::future<FilteredChunk> filtered_later(Bytes raw, std::size_t element) {
  auto work = [raw = std::move(raw), element]() mutable { return filter_chunk(std::move(raw), element); };
  try {
    return std::async(std::launch::async, work);
  } catch (const std::system_error&) {
    return std::async(std::launch::deferred, std::move(work));
  }
}

/// What could not be written stays the first, so that whoever writes next writes it or is told, too.
void write_first(ChunkFile& of, const std::string& place) {
  WaitingChunk& chunk = of.waiting.front();
  FilteredChunk filtered = chunk.filtered.get();
  if (H5Dwrite_chunk(chunk.dataset->get(), H5P_DEFAULT, filtered.mask, chunk.offset.data(), filtered.bytes.size(),
                     filtered.bytes.data()) >= 0) {
    of.waiting.pop_front();
    return;
  }
  const int problem = errno;
  const auto size = static_cast<std::int64_t>(filtered.bytes.size());
  std::promise<FilteredChunk> again;
  again.set_value(std::move(filtered));
  chunk.filtered = again.get_future();
  throw write_failure(place, chunk.path, problem, size);
}

/// The part of `data`, which is the box [at, at + size), that lies in the chunk; zeros behind the dataset's end.
Bytes cut_chunk(const Extent& begin, const std::vector<hsize_t>& chunk, const Extent& at, const Extent& size,
                std::size_t element, const std::uint8_t* data) {
  const std::size_t rank = size.size();
  std::size_t bytes = element;
  std::vector<std::int64_t> here(rank);  // of the chunk in the box
  for (std::size_t i = 0; i < rank; ++i) {
    bytes *= static_cast<std::size_t>(chunk[i]);
    here[i] = std::min(static_cast<std::int64_t>(chunk[i]), at[i] + size[i] - begin[i]);
  }
  Bytes cut(bytes, 0);
  const auto row = static_cast<std::size_t>(here[rank - 1]) * element;
  std::vector<std::int64_t> index(rank, 0);
  for (;;) {
    std::int64_t from = 0, to = 0;
    for (std::size_t i = 0; i < rank; ++i) {
      from = from * size[i] + begin[i] - at[i] + index[i];
      to = to * static_cast<std::int64_t>(chunk[i]) + index[i];
    }
    std::memcpy(cut.data() + static_cast<std::size_t>(to) * element, data + static_cast<std::size_t>(from) * element,
                row);
    std::size_t dimension = rank - 1;
    while (dimension > 0 && ++index[dimension - 1] == here[dimension - 1]) index[--dimension] = 0;
    if (dimension == 0) return cut;
  }
}

}  // namespace

void let_chunks_wait(hid_t file) {
  chunk_files()[file];
}

void write_waiting(hid_t file, const std::string& place) {
  const auto found = chunk_files().find(file);
  if (found == chunk_files().end()) return;
  while (!found->second.waiting.empty()) write_first(found->second, place);
}

void forget_waiting(hid_t file) {
  chunk_files().erase(file);
}

bool wait_with_box(hid_t file, const std::shared_ptr<Handle>& dataset, const std::string& path, Element element,
                   const Extent& at, const Extent& size, const void* data, const std::string& place) {
  const auto found = chunk_files().find(file);
  if (found == chunk_files().end() || size.empty()) return false;
  const std::size_t rank = size.size();
  const Handle creation(H5Dget_create_plist(dataset->get()), H5Pclose);
  const Handle space(H5Dget_space(dataset->get()), H5Sclose);
  std::vector<hsize_t> chunk(rank), whole(rank);
  if (!creation || H5Pget_layout(creation.get()) != H5D_CHUNKED ||
      H5Pget_chunk(creation.get(), static_cast<int>(rank), chunk.data()) != static_cast<int>(rank) ||
      H5Sget_simple_extent_dims(space.get(), whole.data(), nullptr) != static_cast<int>(rank))
    return false;
  std::int64_t chunks = 1;
  for (std::size_t i = 0; i < rank; ++i) {
    const auto step = static_cast<std::int64_t>(chunk[i]), end = at[i] + size[i];
    if (size[i] < 1 || at[i] % step != 0 || (end % step != 0 && end != static_cast<std::int64_t>(whole[i])))
      return false;
    chunks *= (size[i] + step - 1) / step;
  }
  Extent begin = at;
  for (std::int64_t i = 0; i < chunks; ++i) {
    while (found->second.waiting.size() >= most_waiting()) write_first(found->second, place);
    Bytes raw = cut_chunk(begin, chunk, at, size, size_of(element), static_cast<const std::uint8_t*>(data));
    found->second.waiting.push_back({dataset,
                                     path,
                                     {begin.begin(), begin.end()},
                                     filtered_later(std::move(raw), static_cast<std::size_t>(size_of(element)))});
    for (std::size_t d = rank; d-- > 0;) {
      begin[d] += static_cast<std::int64_t>(chunk[d]);
      if (begin[d] < at[d] + size[d]) break;
      begin[d] = at[d];
    }
  }
  return true;
}

}  // namespace headroom::record::hdf5
