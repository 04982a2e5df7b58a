// SPDX-License-Identifier: Apache-2.0
#include "record/directory.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace headroom::record {
namespace {

constexpr std::int64_t max_elements = 1LL << 36;
constexpr std::int64_t max_chunk_bytes = 64LL << 20;
/// zlib cannot shrink further than about 1030 : 1: what claims more than its storage can hold is a lie.
constexpr std::int64_t max_ratio = 1100;

template <typename T>
void append(std::vector<std::uint8_t>& bytes, T value) {
  const std::size_t at = bytes.size();
  bytes.resize(at + sizeof value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

void append_text(std::vector<std::uint8_t>& bytes, const std::string& text) {
  append(bytes, static_cast<std::uint16_t>(text.size()));
  bytes.insert(bytes.end(), text.begin(), text.end());
}

/// Takes values from the front of the bytes; every length is checked first.
class Parser {
 public:
  Parser(std::span<const std::uint8_t> bytes, std::string place) : bytes_(bytes), place_(std::move(place)) {}

  template <typename T>
  T take() {
    T value;
    need(sizeof value);
    std::memcpy(&value, bytes_.data(), sizeof value);
    bytes_ = bytes_.subspan(sizeof value);
    return value;
  }
  std::string take_text() {
    const auto size = take<std::uint16_t>();
    need(size);
    std::string text(reinterpret_cast<const char*>(bytes_.data()), size);
    bytes_ = bytes_.subspan(size);
    return text;
  }
  std::size_t left() const { return bytes_.size(); }
  [[noreturn]] void fail(const std::string& path, const std::string& what) const {
    throw input_error(path.empty() ? place_ : place_ + ":" + path, "the record's directory is damaged: " + what);
  }

 private:
  void need(std::size_t size) const {
    if (size > bytes_.size()) fail({}, "it ends too early");
  }
  std::span<const std::uint8_t> bytes_;
  std::string place_;
};

StoredDataset take_dataset(Parser& in, const std::string& path, std::int64_t begin, std::int64_t end) {
  StoredDataset d;
  const auto element = in.take<std::uint8_t>();
  const auto rank = in.take<std::uint8_t>();
  if (element >= num_elements || rank < 1 || rank > 4) in.fail(path, "element type or rank");
  d.element = static_cast<Element>(element);
  for (std::int8_t* filter : {&d.shuffle, &d.deflate, &d.fletcher}) {
    *filter = in.take<std::int8_t>();
    if (*filter < -1 || *filter > 2) in.fail(path, "filters");
  }
  std::int64_t elements = 1, grid = 1, chunk_bytes = static_cast<std::int64_t>(size_of(d.element));
  for (int i = 0; i < rank; ++i) {
    const auto extent = in.take<std::int64_t>(), chunk = in.take<std::int64_t>();
    if (extent < 0 || extent > max_elements || chunk < 1 || chunk > std::max<std::int64_t>(extent, 1))
      in.fail(path, "extent or chunk size out of range");
    if (extent > 0 && elements > max_elements / extent) in.fail(path, "extent out of range");
    elements *= extent;
    grid *= (extent + chunk - 1) / chunk;  // no larger than the elements
    chunk_bytes *= chunk;
    if (chunk_bytes > max_chunk_bytes) in.fail(path, "chunks are too large");
    d.extent.push_back(extent);
    d.chunk.push_back(chunk);
  }
  const auto count = in.take<std::uint32_t>();
  if (static_cast<std::int64_t>(count) != grid || count > in.left() / 16) in.fail(path, "number of chunks");
  const auto most = static_cast<std::int64_t>(compressBound(static_cast<uLong>(chunk_bytes))) + 4;
  std::int64_t stored = 0;
  d.chunks.resize(count);
  for (StoredChunk& c : d.chunks) {
    c.offset = in.take<std::int64_t>();
    c.size = in.take<std::uint32_t>();
    c.skipped = in.take<std::uint32_t>();
    if (c.size == 0 || c.size > most) in.fail(path, "a chunk's size");
    if (c.offset < begin || c.offset > end || c.size > end - c.offset) in.fail(path, "a chunk lies outside the file");
    stored += c.size;
  }
  const std::int64_t ratio = d.deflate >= 0 ? max_ratio : 1;
  if (elements * static_cast<std::int64_t>(size_of(d.element)) > stored * ratio)
    in.fail(path, "it claims more than is stored");
  return d;
}

}  // namespace

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

const char* name_of(Element element) {
  constexpr const char* names[num_elements] = {"uint8", "int32", "int64", "float16", "float32", "float64"};
  return names[static_cast<int>(element)];
}

std::string describe(const Extent& extent) {
  std::string text = "[";
  for (std::size_t i = 0; i < extent.size(); ++i)
    text += (i ? ", " : "") + (extent[i] < 0 ? std::string("any") : std::to_string(extent[i]));
  return text + "]";
}

std::int64_t StoredDataset::elements() const {
  std::int64_t count = 1;
  for (const auto n : extent) count *= n;
  return count;
}

std::vector<std::uint8_t> to_bytes(const Directory& directory) {
  std::vector<std::uint8_t> bytes;
  append(bytes, static_cast<std::uint32_t>(directory.datasets.size()));
  for (const auto& [path, d] : directory.datasets) {
    append_text(bytes, path);
    append(bytes, static_cast<std::uint8_t>(d.element));
    append(bytes, static_cast<std::uint8_t>(d.extent.size()));
    for (const std::int8_t filter : {d.shuffle, d.deflate, d.fletcher}) append(bytes, filter);
    for (std::size_t i = 0; i < d.extent.size(); ++i) {
      append(bytes, d.extent[i]);
      append(bytes, d.chunk[i]);
    }
    append(bytes, static_cast<std::uint32_t>(d.chunks.size()));
    for (const StoredChunk& c : d.chunks) {
      append(bytes, c.offset);
      append(bytes, c.size);
      append(bytes, c.skipped);
    }
  }
  append(bytes, static_cast<std::uint32_t>(directory.attributes.size()));
  for (const auto& [key, value] : directory.attributes) {
    append_text(bytes, key.first);
    append_text(bytes, key.second);
    append(bytes, static_cast<std::uint8_t>(value.index()));
    if (const auto* integer = std::get_if<std::int64_t>(&value)) append(bytes, *integer);
    if (const auto* number = std::get_if<double>(&value)) append(bytes, *number);
    if (const auto* text = std::get_if<std::string>(&value)) append_text(bytes, *text);
  }
  return bytes;
}

Directory directory_from_bytes(std::span<const std::uint8_t> bytes, std::int64_t begin, std::int64_t end,
                               const std::string& place) {
  Parser in(bytes, place);
  Directory directory;
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges;
  for (auto count = in.take<std::uint32_t>(); count > 0; --count) {
    std::string path = in.take_text();
    StoredDataset dataset = take_dataset(in, path, begin, end);
    for (const StoredChunk& c : dataset.chunks) ranges.emplace_back(c.offset, c.offset + c.size);
    if (!directory.datasets.emplace(std::move(path), std::move(dataset)).second) in.fail({}, "a dataset twice");
  }
  // Chunks that share bytes could make a small file claim any amount of memory.
  std::sort(ranges.begin(), ranges.end());
  for (std::size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i].first < ranges[i - 1].second) in.fail({}, "chunks overlap");
  for (auto count = in.take<std::uint32_t>(); count > 0; --count) {
    std::string path = in.take_text(), name = in.take_text();
    Attribute value;
    switch (in.take<std::uint8_t>()) {
      case 0:
        value = in.take<std::int64_t>();
        break;
      case 1:
        value = in.take<double>();
        break;
      case 2:
        value = in.take_text();
        break;
      default:
        in.fail(path, "an attribute's type");
    }
    if (!directory.attributes.emplace(std::pair(std::move(path), std::move(name)), std::move(value)).second)
      in.fail({}, "an attribute twice");
  }
  if (in.left() != 0) in.fail({}, "it is longer than its contents");
  return directory;
}

}  // namespace headroom::record
