// SPDX-License-Identifier: Apache-2.0
// Texts by their bytes: all that begin at a place of another text, shortest first.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/flat_map.h"

namespace headroom::tokenizer {

class ByteTrie {
 public:
  ByteTrie() { first_.fill(-1); }
  /// Of equal texts the last counts. Empty ones are left out.
  void add(std::string_view text, std::int32_t value) {
    if (text.empty()) return;
    std::int32_t node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto byte = static_cast<unsigned char>(text[i]);
      std::int32_t next = step(node, byte);
      if (next < 0) {
        next = static_cast<std::int32_t>(values_.size());
        values_.push_back(-1);
        if (node == 0)
          first_[byte] = next;
        else
          edges_.insert(key(node, byte), next);
      }
      node = next;
    }
    values_[static_cast<std::size_t>(node)] = value;
  }
  /// Calls visit(length, value) for each text that `text` begins with.
  template <class Visit>
  void prefixes(std::string_view text, Visit&& visit) const {
    std::int32_t node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      node = step(node, static_cast<unsigned char>(text[i]));
      if (node < 0) return;
      if (values_[static_cast<std::size_t>(node)] >= 0) visit(i + 1, values_[static_cast<std::size_t>(node)]);
    }
  }
  bool empty() const { return values_.size() == 1; }

 private:
  static std::uint64_t key(std::int32_t node, unsigned char byte) {
    return static_cast<std::uint64_t>(node) << 8 | byte;
  }
  std::int32_t step(std::int32_t node, unsigned char byte) const {
    if (node == 0) return first_[byte];
    const std::int32_t* const next = edges_.find(key(node, byte));
    return next == nullptr ? -1 : *next;
  }
  std::array<std::int32_t, 256> first_;
  std::vector<std::int32_t> values_ = {-1};  ///< by node; -1: no text ends there
  FlatMap<std::int32_t> edges_;
};

}  // namespace headroom::tokenizer
