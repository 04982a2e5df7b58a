// SPDX-License-Identifier: Apache-2.0
// Which keys each query may attend to, one bit a pair: how supports are stored, compared and drawn.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace headroom {

/// Rows are queries, columns keys; bit (t, s) set = key s in query t's support. Both dimensions are the prompt length.
class SupportBitmap {
 public:
  SupportBitmap() = default;
  explicit SupportBitmap(std::int64_t length) : length_(length), row_bytes_((length + 7) / 8) {
    bits_.resize(static_cast<std::size_t>(length_ * row_bytes_));
  }

  std::int64_t length() const { return length_; }
  std::int64_t row_bytes() const { return row_bytes_; }
  bool test(std::int64_t query, std::int64_t key) const {
    return bits_[index(query, key)] >> (key & 7) & 1;
  }
  void set(std::int64_t query, std::int64_t key) {
    bits_[index(query, key)] |= static_cast<std::uint8_t>(1u << (key & 7));
  }
  std::span<const std::uint8_t> row(std::int64_t query) const {
    return {bits_.data() + query * row_bytes_, static_cast<std::size_t>(row_bytes_)};
  }
  std::span<std::uint8_t> row(std::int64_t query) {
    return {bits_.data() + query * row_bytes_, static_cast<std::size_t>(row_bytes_)};
  }
  std::span<const std::uint8_t> bytes() const { return bits_; }
  std::span<std::uint8_t> bytes() { return bits_; }
  /// Set bits of one row with begin <= key < end.
  std::int64_t count(std::int64_t query, std::int64_t key_begin, std::int64_t key_end) const;
  std::int64_t count_all() const;

 private:
  std::size_t index(std::int64_t query, std::int64_t key) const {
    return static_cast<std::size_t>(query * row_bytes_ + (key >> 3));
  }
  std::int64_t length_ = 0;
  std::int64_t row_bytes_ = 0;
  std::vector<std::uint8_t> bits_;
};

}  // namespace headroom
