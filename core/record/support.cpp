// SPDX-License-Identifier: Apache-2.0
// Blocks of rows are read, checked and kept, least recently used first out.
#include "record/support.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"

namespace headroom::record {
namespace {

constexpr std::int64_t most_block_rows = 64, most_block_pairs = std::int64_t{1} << 23;
constexpr std::size_t most_held_bytes = std::size_t{12} << 20;  // of one support, in blocks

std::uint64_t word_of(std::span<const std::uint8_t> row, std::int64_t begin) {
  const std::int64_t first = begin / 8, left = std::ssize(row) - first;
  std::uint64_t word = 0;
  if (left > 0) std::memcpy(&word, row.data() + first, static_cast<std::size_t>(std::min<std::int64_t>(left, 8)));
  return word;
}

std::int64_t ones(std::span<const std::uint8_t> row, std::int64_t begin, std::int64_t end) {
  std::int64_t count = 0;
  for (std::int64_t key = begin; key < end;) {
    if (key % 8 == 0 && key + 8 <= end) {
      count += std::popcount(row[static_cast<std::size_t>(key / 8)]);
      key += 8;
    } else {
      count += row[static_cast<std::size_t>(key / 8)] >> (key % 8) & 1;
      ++key;
    }
  }
  return count;
}

}  // namespace

void check_offsets(std::span<const std::int64_t> offsets, std::int64_t first, std::int64_t keys,
                   const std::string& place) {
  if (offsets.empty() || offsets.front() != first)
    throw input_error(place, "the first row does not begin where it should", std::to_string(first),
                      offsets.empty() ? "nothing" : std::to_string(offsets.front()));
  for (std::size_t row = 0; row + 1 < offsets.size(); ++row) {
    const std::int64_t begin = offsets[row], end = offsets[row + 1];
    if (end < begin || end > keys)
      throw input_error(place, "row " + std::to_string(row) + " ends out of range",
                        std::to_string(begin) + " to " + std::to_string(keys), std::to_string(end));
    if (end - begin > static_cast<std::int64_t>(row) + 1)
      throw input_error(place, "row " + std::to_string(row) + " holds more keys than it sees",
                        "at most " + std::to_string(row + 1), std::to_string(end - begin));
  }
}

Support::Support(std::vector<std::int64_t> offsets, ReadKeys read, std::string place)
    : length_(std::ssize(offsets) - 1),
      offsets_(std::move(offsets)),
      read_keys_(std::move(read)),
      place_(std::move(place)),
      block_rows_(std::clamp<std::int64_t>(most_block_pairs / std::max<std::int64_t>(length_, 1), 1, most_block_rows)) {
}

Support::Support(std::int64_t length, ReadRows read, std::string place)
    : length_(length),
      read_rows_(std::move(read)),
      place_(std::move(place)),
      block_rows_(std::clamp<std::int64_t>(most_block_pairs / std::max<std::int64_t>(length, 1), 1, most_block_rows)) {}

Support::BlockPtr Support::load(std::int64_t number) const {
  auto block = std::make_shared<Block>();
  block->begin = number * block_rows_;
  block->end = std::min(block->begin + block_rows_, length_);
  if (read_rows_) {
    block->bits.resize(static_cast<std::size_t>((block->end - block->begin) * row_bytes()));
    read_rows_(block->begin, block->end - block->begin, block->bits);
    for (std::int64_t query = block->begin; query < block->end; ++query) {
      const auto row = std::span(block->bits)
                           .subspan(static_cast<std::size_t>((query - block->begin) * row_bytes()),
                                    static_cast<std::size_t>(row_bytes()));
      if (ones(row, query + 1, row_bytes() * 8) != 0)
        throw input_error(place_, "row " + std::to_string(query) + " holds keys after its query");
    }
    return block;
  }
  const auto first = offsets_.begin() + block->begin;
  block->offsets.assign(first, first + (block->end - block->begin + 1));
  block->keys.resize(static_cast<std::size_t>(block->offsets.back() - block->offsets.front()));
  if (!block->keys.empty()) read_keys_(block->offsets.front(), block->keys);
  for (std::int64_t query = block->begin; query < block->end; ++query) {
    std::int64_t last = -1;
    for (const std::int32_t key : keys_in(*block, query)) {
      if (key <= last || key > query)
        throw input_error(place_, "row " + std::to_string(query) + " holds a key out of order or after its query",
                          std::to_string(last + 1) + " to " + std::to_string(query), std::to_string(key));
      last = key;
    }
  }
  return block;
}

Support::BlockPtr Support::find(std::int64_t query) const {
  const std::lock_guard lock(mutex_);
  const auto found = index_.find(query / block_rows_);
  if (found == index_.end()) return nullptr;
  recent_.splice(recent_.begin(), recent_, found->second);
  return found->second->second;
}

Support::BlockPtr Support::block(std::int64_t query) const {
  if (query < 0 || query >= length_) throw Error(ErrorKind::internal, "a support has no such row");
  if (auto here = find(query)) return here;
  const std::int64_t number = query / block_rows_;
  BlockPtr loaded = load(number);  // outside the lock: whoever asks for what is here does not wait for the disk
  const std::lock_guard lock(mutex_);
  if (const auto found = index_.find(number); found != index_.end()) return found->second->second;
  recent_.emplace_front(number, loaded);
  index_[number] = recent_.begin();
  held_ += loaded->bytes();
  while (held_ > most_held_bytes && recent_.size() > 1) {
    held_ -= recent_.back().second->bytes();
    index_.erase(recent_.back().first);
    recent_.pop_back();
  }
  return loaded;
}

std::span<const std::int32_t> Support::keys_in(const Block& block, std::int64_t query) const {
  const auto row = static_cast<std::size_t>(query - block.begin);
  const std::int64_t begin = block.offsets[row] - block.offsets.front(),
                     end = block.offsets[row + 1] - block.offsets.front();
  return std::span(block.keys).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
}

bool Support::test_in(const Block& block, std::int64_t query, std::int64_t key) const {
  if (read_rows_)
    return block.bits[static_cast<std::size_t>((query - block.begin) * row_bytes() + key / 8)] >> (key & 7) & 1;
  const auto row = keys_in(block, query);
  return std::binary_search(row.begin(), row.end(), static_cast<std::int32_t>(key));
}

bool Support::test(std::int64_t query, std::int64_t key) const {
  if (key < 0 || key >= length_) return false;
  return whole_ ? bitmap_.test(query, key) : test_in(*block(query), query, key);
}

std::optional<bool> Support::test_if_here(std::int64_t query, std::int64_t key) const {
  if (query < 0 || query >= length_ || key < 0 || key >= length_) return false;
  if (whole_) return bitmap_.test(query, key);
  const BlockPtr here = find(query);
  return here ? std::optional(test_in(*here, query, key)) : std::nullopt;
}

std::vector<std::uint8_t> Support::row(std::int64_t query) const {
  if (whole_) {
    const auto row = bitmap_.row(query);
    return {row.begin(), row.end()};
  }
  const BlockPtr of = block(query);
  std::vector<std::uint8_t> bits(static_cast<std::size_t>(row_bytes()));
  if (read_rows_)
    std::copy_n(of->bits.begin() + (query - of->begin) * row_bytes(), row_bytes(), bits.begin());
  else
    for (const std::int32_t key : keys_in(*of, query))
      bits[static_cast<std::size_t>(key / 8)] |= static_cast<std::uint8_t>(1 << (key & 7));
  return bits;
}

std::vector<std::int32_t> Support::keys(std::int64_t query) const {
  if (!whole_ && !read_rows_) {
    const BlockPtr of = block(query);
    const auto row = keys_in(*of, query);
    return {row.begin(), row.end()};
  }
  const std::vector<std::uint8_t> bits = row(query);
  std::vector<std::int32_t> keys;
  for (std::size_t byte = 0; byte < bits.size(); ++byte)
    for (unsigned rest = bits[byte]; rest != 0; rest &= rest - 1)
      keys.push_back(static_cast<std::int32_t>(byte * 8) + std::countr_zero(rest));
  return keys;
}

void Support::words(std::int64_t query, std::int64_t begin, std::span<std::uint64_t> out) const {
  const auto from_row = [&](std::span<const std::uint8_t> row) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = word_of(row, begin + static_cast<std::int64_t>(i) * 64);
  };
  if (whole_) return from_row(bitmap_.row(query));
  const BlockPtr of = block(query);
  if (read_rows_)
    return from_row(std::span(of->bits).subspan(static_cast<std::size_t>((query - of->begin) * row_bytes()),
                                                static_cast<std::size_t>(row_bytes())));
  std::fill(out.begin(), out.end(), 0);
  const auto row = keys_in(*of, query);
  const std::int64_t end = begin + std::ssize(out) * 64;
  for (auto key = std::lower_bound(row.begin(), row.end(), begin); key != row.end() && *key < end; ++key)
    out[static_cast<std::size_t>((*key - begin) / 64)] |= std::uint64_t{1} << ((*key - begin) & 63);
}

std::int64_t Support::count(std::int64_t query, std::int64_t key_begin, std::int64_t key_end) const {
  key_begin = std::max<std::int64_t>(key_begin, 0);
  key_end = std::min(key_end, length_);
  if (key_begin >= key_end) return 0;
  if (whole_) return bitmap_.count(query, key_begin, key_end);
  const BlockPtr of = block(query);
  if (read_rows_)
    return ones(std::span(of->bits).subspan(static_cast<std::size_t>((query - of->begin) * row_bytes()),
                                            static_cast<std::size_t>(row_bytes())),
                key_begin, key_end);
  const auto row = keys_in(*of, query);
  return std::lower_bound(row.begin(), row.end(), key_end) - std::lower_bound(row.begin(), row.end(), key_begin);
}

std::int64_t Support::count_all() const {
  if (whole_) return bitmap_.count_all();
  if (!read_rows_) return offsets_.back() - offsets_.front();
  std::int64_t total = 0;
  for (std::int64_t query = 0; query < length_; ++query) total += count(query, 0, query + 1);
  return total;
}

std::size_t Support::bytes() const {
  const std::lock_guard lock(mutex_);
  return bitmap_.bytes().size() + offsets_.size() * 8 + held_;
}

}  // namespace headroom::record
