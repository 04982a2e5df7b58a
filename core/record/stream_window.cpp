// SPDX-License-Identifier: Apache-2.0
#include "record/stream_window.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <compare>
#include <list>
#include <map>
#include <mutex>

#include "base/error.h"
#include "record/half.h"

namespace headroom::record {

struct StreamWindow::Block {
  std::vector<std::uint16_t> halves;
  std::vector<float> floats;
  std::size_t bytes() const { return halves.size() * 2 + floats.size() * 4; }
};

namespace {

struct BlockKey {
  std::uint64_t window = 0;
  int part = 0;
  std::int64_t head = 0, number = 0;
  auto operator<=>(const BlockKey&) const = default;
};

/// Of all windows, least recently used first out.
class WindowCache {
 public:
  using Block = std::shared_ptr<const void>;
  static WindowCache& instance() {
    static WindowCache cache;
    return cache;
  }
  Block find(const BlockKey& key) {
    const std::lock_guard lock(mutex_);
    const auto found = index_.find(key);
    if (found == index_.end()) return nullptr;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->block;
  }
  void put(const BlockKey& key, Block block, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    if (index_.contains(key)) return;
    entries_.push_front({key, std::move(block), bytes});
    index_[key] = entries_.begin();
    held_ += bytes;
    while (held_ > StreamWindow::most_bytes && entries_.size() > 1) erase(std::prev(entries_.end()));
  }
  void forget(std::uint64_t window) {
    const std::lock_guard lock(mutex_);
    for (auto it = entries_.begin(); it != entries_.end();) {
      const auto next = std::next(it);
      if (it->key.window == window) erase(it);
      it = next;
    }
  }
  std::size_t held() {
    const std::lock_guard lock(mutex_);
    return held_;
  }

 private:
  struct Entry {
    BlockKey key;
    Block block;
    std::size_t bytes;
  };
  void erase(std::list<Entry>::iterator entry) {
    held_ -= entry->bytes;
    index_.erase(entry->key);
    entries_.erase(entry);
  }
  std::mutex mutex_;
  std::list<Entry> entries_;  ///< newest first
  std::map<BlockKey, std::list<Entry>::iterator> index_;
  std::size_t held_ = 0;
};

std::uint64_t next_window_id() {
  static std::atomic<std::uint64_t> next{0};
  return ++next;
}

}  // namespace

StreamWindow::StreamWindow(Shape q, Shape k, Shape lse, Read read, std::string place)
    : shapes_{q, k, lse}, read_(std::move(read)), place_(std::move(place)), id_(next_window_id()) {}

StreamWindow::~StreamWindow() {
  WindowCache::instance().forget(id_);
}

std::size_t StreamWindow::held_bytes() {
  return WindowCache::instance().held();
}

std::shared_ptr<const StreamWindow::Block> StreamWindow::block(Part part, std::int64_t head,
                                                               std::int64_t number) const {
  const BlockKey key{id_, static_cast<int>(part), head, number};
  if (auto here = WindowCache::instance().find(key)) return std::static_pointer_cast<const Block>(here);
  const Shape& s = shape(part);
  const std::int64_t begin = number * s.block_rows, rows = std::min(s.block_rows, s.rows - begin);
  auto loaded = std::make_shared<Block>();
  const auto values = static_cast<std::size_t>(rows * s.width);
  bool finite = true;
  if (s.halves) {
    loaded->halves.resize(values);
    read_(part, head, begin, rows, loaded->halves.data());
    for (const std::uint16_t half : loaded->halves) finite &= (half & 0x7c00u) != 0x7c00u;
  } else {
    loaded->floats.resize(values);
    read_(part, head, begin, rows, loaded->floats.data());
    float sum = 0;
    for (const float value : loaded->floats) sum += value * 0.0f;
    finite = !std::isnan(sum);
  }
  if (!finite) {
    const char* names[] = {"q", "k", "lse"};
    throw input_error(place_ + "/" + names[static_cast<int>(part)], "holds values that are not finite", {},
                      "head " + std::to_string(head) + ", row " + std::to_string(begin) + " on");
  }
  WindowCache::instance().put(key, loaded, loaded->bytes());
  return loaded;
}

bool StreamWindow::is_here(Part part, std::int64_t head, std::int64_t row) const {
  return WindowCache::instance().find({id_, static_cast<int>(part), head, row / shape(part).block_rows}) != nullptr;
}

void StreamWindow::copy(Part part, std::int64_t head, std::int64_t begin, std::int64_t rows, float* out) const {
  const Shape& s = shape(part);
  if (head < 0 || head >= s.heads || begin < 0 || rows < 0 || begin + rows > s.rows)
    throw Error(ErrorKind::internal, "the stream has no such rows");
  while (rows > 0) {
    const std::int64_t number = begin / s.block_rows, inside = begin - number * s.block_rows;
    const std::int64_t count = std::min(rows, s.block_rows - inside);
    const auto from = block(part, head, number);
    const auto at = static_cast<std::size_t>(inside * s.width), values = static_cast<std::size_t>(count * s.width);
    if (s.halves)
      from_half(std::span(from->halves).subspan(at, values), out);
    else
      std::copy_n(from->floats.begin() + static_cast<std::ptrdiff_t>(at), values, out);
    out += values;
    begin += count;
    rows -= count;
  }
}

const float* query_rows(const LayerStream& s, std::int64_t head, std::int64_t begin, std::int64_t rows,
                        std::vector<float>& scratch) {
  const std::int64_t kept = s.length - s.query_begin, row = begin - s.query_begin;
  if (!s.window) return s.q.data() + (head * kept + row) * s.head_dim;
  scratch.resize(static_cast<std::size_t>(rows * s.head_dim));
  s.window->copy(StreamWindow::Part::q, head, row, rows, scratch.data());
  return scratch.data();
}

const float* key_rows(const LayerStream& s, std::int64_t kv_head, std::int64_t begin, std::int64_t rows,
                      std::vector<float>& scratch) {
  if (!s.window) return s.k.data() + (kv_head * s.length + begin) * s.head_dim;
  scratch.resize(static_cast<std::size_t>(rows * s.head_dim));
  s.window->copy(StreamWindow::Part::k, kv_head, begin, rows, scratch.data());
  return scratch.data();
}

const float* lse_rows(const LayerStream& s, std::int64_t head, std::int64_t begin, std::int64_t rows,
                      std::vector<float>& scratch) {
  const std::int64_t kept = s.length - s.query_begin, row = begin - s.query_begin;
  if (!s.window) return s.lse.data() + head * kept + row;
  scratch.resize(static_cast<std::size_t>(rows));
  s.window->copy(StreamWindow::Part::lse, head, row, rows, scratch.data());
  return scratch.data();
}

}  // namespace headroom::record
