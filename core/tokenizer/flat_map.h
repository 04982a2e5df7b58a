// SPDX-License-Identifier: Apache-2.0
// A hash table of 64-bit keys without deletion: one probe into one array, for the tables that every byte of a text
// asks.
#pragma once

#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

namespace headroom::tokenizer {

template <class Value>
class FlatMap {
 public:
  static constexpr std::uint64_t no_key = ~std::uint64_t{0};

  void reserve(std::size_t count) { grow(std::bit_ceil(count * 2 + 8)); }
  std::size_t size() const { return size_; }
  /// False, without a change, where the key is there. `key` is not no_key.
  bool insert(std::uint64_t key, const Value& value) {
    if ((size_ + 1) * 2 > slots_.size()) grow(slots_.empty() ? 16 : slots_.size() * 2);
    Slot& slot = slots_[index(key)];
    if (slot.key == key) return false;
    slot = {key, value};
    ++size_;
    return true;
  }
  const Value* find(std::uint64_t key) const {
    if (slots_.empty()) return nullptr;
    const Slot& slot = slots_[index(key)];
    return slot.key == key ? &slot.value : nullptr;
  }
  Value* find(std::uint64_t key) { return const_cast<Value*>(std::as_const(*this).find(key)); }

 private:
  struct Slot {
    std::uint64_t key = no_key;
    Value value{};
  };
  std::size_t index(std::uint64_t key) const {
    const std::size_t mask = slots_.size() - 1;
    std::uint64_t hash = key * 0x9e3779b97f4a7c15ull;
    hash ^= hash >> 32;
    std::size_t at = static_cast<std::size_t>(hash) & mask;
    while (slots_[at].key != key && slots_[at].key != no_key) at = (at + 1) & mask;
    return at;
  }
  void grow(std::size_t slots) {
    if (slots <= slots_.size()) return;
    std::vector<Slot> old(slots);
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.key != no_key) slots_[index(slot.key)] = slot;
  }
  std::vector<Slot> slots_;
  std::size_t size_ = 0;
};

}  // namespace headroom::tokenizer
