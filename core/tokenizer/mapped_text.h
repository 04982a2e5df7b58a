// SPDX-License-Identifier: Apache-2.0
// A text that was changed on its way to the model, with the place of every byte in the text that it was made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace headroom::tokenizer {

/// Where a piece was replaced by another one, the bytes of the two are matched in proportion, so that pieces of the new
/// text always share out those of the old one: ascending, without overlaps.
struct MappedText {
  std::string text;
  std::int64_t base = 0;                   ///< added to every place
  std::vector<std::uint32_t> origin = {};  ///< by byte, and one more for the end; empty: byte i is byte i

  std::int64_t place(std::size_t byte) const {
    return base + (origin.empty() ? static_cast<std::int64_t>(byte) : std::int64_t{origin[byte]});
  }
};

/// Writes a MappedText from pieces of another one, from left to right.
class MappedTextWriter {
 public:
  explicit MappedTextWriter(const MappedText& from) : from_(from) {
    out_.text.reserve(from.text.size() + 16);
    out_.origin.reserve(from.text.size() + 16);
  }
  std::size_t size() const { return out_.text.size(); }
  /// The bytes [begin, end) as they are.
  void keep(std::size_t begin, std::size_t end) {
    out_.text.append(from_.text, begin, end - begin);
    for (std::size_t i = begin; i < end; ++i) out_.origin.push_back(place(i));
  }
  /// `text` for the bytes [begin, end), which may be none.
  void put(std::size_t begin, std::size_t end, std::string_view text) {
    const std::uint32_t first = place(begin), length = place(end) - first;
    for (std::size_t i = 0; i < text.size(); ++i)
      out_.origin.push_back(first + static_cast<std::uint32_t>(std::uint64_t{length} * i / text.size()));
    out_.text += text;
  }
  MappedText finish() {
    out_.origin.push_back(place(from_.text.size()));
    out_.base = from_.base;
    return std::move(out_);
  }

 private:
  std::uint32_t place(std::size_t byte) const {
    return from_.origin.empty() ? static_cast<std::uint32_t>(byte) : from_.origin[byte];
  }
  const MappedText& from_;
  MappedText out_;
};

}  // namespace headroom::tokenizer
