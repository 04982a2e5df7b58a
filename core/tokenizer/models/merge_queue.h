// SPDX-License-Identifier: Apache-2.0
// The order in which byte-pair encoding merges a long word.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

namespace headroom::tokenizer {

/// Places of a long word in the order of (rank, place). A heap of all of them would be read all over for each that is
/// taken, and a word twice as long would take three times as long where a cache ends: here places of one rank wait in a
/// list, and are sorted when it is their turn (they mostly are).
class MergeQueue {
 public:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

  /// Empty; ranks lie below `ranks`.
  void begin(std::size_t ranks) {
    if (!ranks_.empty() || !urgent_.empty()) *this = {};  // a word that was not done with
    if (lists_.size() < ranks) lists_.resize(ranks);
    current_ = none;
    turn_.clear();
    done_ = 0;
  }
  void push(std::uint32_t rank, std::uint32_t place) {
    if (current_ != none && rank <= current_) {
      urgent_.push_back(static_cast<std::uint64_t>(rank) << 32 | place);
      std::ranges::push_heap(urgent_, std::greater());
      return;
    }
    std::uint32_t entry = free_;
    if (entry == none) {
      entry = static_cast<std::uint32_t>(waiting_.size());
      waiting_.push_back({});
    } else {
      free_ = waiting_[entry].next;
    }
    waiting_[entry] = {place, none};
    List& list = lists_[rank];
    if (list.first == none) {
      list.first = entry;
      ranks_.push_back(rank);
      std::ranges::push_heap(ranks_, std::greater());
    } else {
      waiting_[list.last].next = entry;
    }
    list.last = entry;
  }
  /// (rank, place), the least first; nothing where none is left.
  std::optional<std::pair<std::uint32_t, std::uint32_t>> pop() {
    if (done_ == turn_.size() && urgent_.empty() && !next_turn()) return std::nullopt;
    if (!urgent_.empty() &&
        (done_ == turn_.size() || urgent_.front() < (static_cast<std::uint64_t>(current_) << 32 | turn_[done_]))) {
      const std::uint64_t least = urgent_.front();
      std::ranges::pop_heap(urgent_, std::greater());
      urgent_.pop_back();
      return std::pair(static_cast<std::uint32_t>(least >> 32), static_cast<std::uint32_t>(least));
    }
    return std::pair(current_, turn_[done_++]);
  }

 private:
  struct Waiting {
    std::uint32_t place = 0, next = none;
  };
  struct List {
    std::uint32_t first = none, last = none;
  };

  bool next_turn() {
    turn_.clear();
    done_ = 0;
    if (ranks_.empty()) return false;
    std::ranges::pop_heap(ranks_, std::greater());
    current_ = ranks_.back();
    ranks_.pop_back();
    List& list = lists_[current_];
    for (std::uint32_t entry = list.first; entry != none; entry = waiting_[entry].next)
      turn_.push_back(waiting_[entry].place);
    waiting_[list.last].next = free_;
    free_ = list.first;
    list = {};
    if (!std::ranges::is_sorted(turn_)) std::ranges::sort(turn_);
    return true;
  }

  std::vector<List> lists_;           ///< by rank, of waiting_
  std::vector<Waiting> waiting_;      ///< those of later ranks, and a list of free places
  std::uint32_t free_ = none;
  std::vector<std::uint32_t> ranks_;  ///< a heap of those that wait
  std::uint32_t current_ = none;      ///< whose turn it is
  std::vector<std::uint32_t> turn_;
  std::size_t done_ = 0;
  std::vector<std::uint64_t> urgent_;  ///< a heap of what came at or before the current rank
};

}  // namespace headroom::tokenizer
