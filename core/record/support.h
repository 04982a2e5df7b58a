// SPDX-License-Identifier: Apache-2.0
// Which keys each query attends to, as a record holds it: a whole bitmap for short prompts, else rows that are read
// when they are asked for, so that a prompt of 128K tokens takes a few megabytes and not two gigabytes.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/support_bitmap.h"

namespace headroom::record {

/// Safe to use from several threads. Everything but length(), is_here() and test_if_here() may read the file, and then
/// throws input errors for damaged data: not for the window's thread.
class Support {
 public:
  /// Fills `out` with elements [begin, begin + out.size()) of the list of all keys.
  using ReadKeys = std::function<void(std::int64_t begin, std::span<std::int32_t> out)>;
  /// Fills `out` with the bytes of rows [begin, begin + rows) of a bitmap.
  using ReadRows = std::function<void(std::int64_t begin, std::int64_t rows, std::span<std::uint8_t> out)>;

  explicit Support(SupportBitmap bitmap) : length_(bitmap.length()), bitmap_(std::move(bitmap)), whole_(true) {}
  /// `offsets` [L + 1], checked: where each row's keys begin. `place` names the data in errors.
  Support(std::vector<std::int64_t> offsets, ReadKeys read, std::string place);
  /// A bitmap too large to be held.
  Support(std::int64_t length, ReadRows read, std::string place);

  std::int64_t length() const { return length_; }
  std::int64_t row_bytes() const { return (length_ + 7) / 8; }
  bool test(std::int64_t query, std::int64_t key) const;
  /// The row's bits, as those of a bitmap.
  std::vector<std::uint8_t> row(std::int64_t query) const;
  /// The row's keys, ascending.
  std::vector<std::int32_t> keys(std::int64_t query) const;
  /// Bits of keys [begin, begin + 64 * out.size()) of a row; keys past its end are 0.
  void words(std::int64_t query, std::int64_t begin, std::span<std::uint64_t> out) const;
  std::int64_t count(std::int64_t query, std::int64_t key_begin, std::int64_t key_end) const;
  std::int64_t count_all() const;

  /// All of it is in memory.
  bool is_whole() const { return whole_; }
  /// Whether the row can be asked about without reading: for the window's thread.
  bool is_here(std::int64_t query) const { return whole_ || find(query) != nullptr; }
  std::optional<bool> test_if_here(std::int64_t query, std::int64_t key) const;
  /// Bytes that it takes now.
  std::size_t bytes() const;

 private:
  /// Rows [begin, end): either their keys with the offset of each row, or their bits.
  struct Block {
    std::int64_t begin = 0, end = 0;
    std::vector<std::int64_t> offsets;
    std::vector<std::int32_t> keys;
    std::vector<std::uint8_t> bits;
    std::size_t bytes() const { return keys.size() * 4 + offsets.size() * 8 + bits.size(); }
  };
  using BlockPtr = std::shared_ptr<const Block>;
  BlockPtr find(std::int64_t query) const;
  BlockPtr block(std::int64_t query) const;
  BlockPtr load(std::int64_t number) const;
  std::span<const std::int32_t> keys_in(const Block& block, std::int64_t query) const;
  bool test_in(const Block& block, std::int64_t query, std::int64_t key) const;

  std::int64_t length_ = 0;
  SupportBitmap bitmap_;
  bool whole_ = false;
  std::vector<std::int64_t> offsets_;
  ReadKeys read_keys_;
  ReadRows read_rows_;
  std::string place_;
  std::int64_t block_rows_ = 1;
  mutable std::mutex mutex_;
  mutable std::list<std::pair<std::int64_t, BlockPtr>> recent_;  ///< newest first
  mutable std::unordered_map<std::int64_t, std::list<std::pair<std::int64_t, BlockPtr>>::iterator> index_;
  mutable std::size_t held_ = 0;
};

/// Checks what a record says about where rows begin: `offsets` [L + 1] from `first` on, ascending, no row longer than
/// its history, ending at or before `keys`. Throws input errors that name the row.
void check_offsets(std::span<const std::int64_t> offsets, std::int64_t first, std::int64_t keys,
                   const std::string& place);

}  // namespace headroom::record
