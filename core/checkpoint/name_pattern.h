// SPDX-License-Identifier: Apache-2.0
// The regular expressions that PEFT's configurations name modules by, as far as they are regular: literals, '.',
// classes, groups, '|', counts, '^', '$' and '\b'. Matching takes time in proportion to name and pattern, whatever a
// file says: no backtracking.
#pragma once

#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace headroom::checkpoint {

class NamePattern {
 public:
  /// `place` stands before messages. Throws input errors for what is no such expression, and by name for what Python
  /// knows beside these (look-around, back references, flags, possessive counts).
  NamePattern(std::string_view pattern, const std::string& place);

  /// As Python's re.fullmatch.
  bool matches(std::string_view name) const;

 private:
  class Parser;
  enum class Test : std::uint8_t { byte, split, begin, end, word_edge, inside_word, accept };
  struct State {
    Test test = Test::accept;
    std::bitset<256> bytes;  ///< of Test::byte
    std::int32_t next = -1, other = -1;
  };

  void follow(std::int32_t state, std::string_view name, std::size_t at, std::vector<std::int32_t>& reached,
              std::vector<std::uint8_t>& seen) const;

  std::vector<State> states_;
  std::int32_t start_ = -1;
};

}  // namespace headroom::checkpoint
