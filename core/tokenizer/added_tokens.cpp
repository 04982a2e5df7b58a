// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <functional>
#include <numeric>
#include <optional>
#include <queue>
#include <utility>

#include "tokenizer/normalizer.h"
#include "tokenizer/unicode.h"

namespace headroom::tokenizer {
namespace {

std::size_t character_before(std::string_view text, std::size_t at) {
  do --at;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80);
  return at;
}

std::size_t spaces_before(std::string_view text, std::size_t at) {
  while (at > 0) {
    const std::size_t before = character_before(text, at);
    if (!is_white_space(point_at(text, before).first)) break;
    at = before;
  }
  return at;
}

std::size_t spaces_behind(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    const auto [point, length] = point_at(text, at);
    if (!is_white_space(point)) break;
    at += length;
  }
  return at;
}

bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
  const bool word_before = begin > 0 && is_word_character(point_at(text, character_before(text, begin)).first);
  return !word_before && !(end < text.size() && is_word_character(point_at(text, end).first));
}

}  // namespace

/// Which of the tokens that stand in a text may be taken.
class AddedTokens::Permission {
 public:
  /// `whole`: where the template writes tokens; `mapped`: the text that is cut, where that is another one.
  Permission(const AddedTokens& tokens, const EncodeOptions& options, std::string_view whole, const MappedText* mapped)
      : tokens_(tokens), options_(options), whole_(whole), mapped_(mapped) {
    for (const ByteRange& range : options.literal)
      if (range.begin < range.end) literal_.push_back(range);
    std::ranges::sort(literal_, {}, &ByteRange::begin);
  }
  bool allows(const Entry& entry, std::size_t begin, std::size_t end) const {
    if (entry.token.special && !options_.parse_special) return false;
    if (literal_.empty()) return true;
    const std::int64_t from = mapped_ ? mapped_->place(begin) : static_cast<std::int64_t>(begin);
    const std::int64_t to = mapped_ ? mapped_->place(end) : static_cast<std::int64_t>(end);
    return !is_literal(from, to) || (!entry.token.special && !marks_turns(entry));
  }

 private:
  bool is_literal(std::int64_t begin, std::int64_t end) const {
    // Ranges of one prompt do not overlap: the last that begins before `end` decides.
    const auto next = std::ranges::lower_bound(literal_, end, {}, &ByteRange::begin);
    return next != literal_.begin() && std::prev(next)->end > begin;
  }
  /// A token of the text itself that a template writes is what marks its turns: such a one is no part of a text either.
  /// Words and white space are, wherever they stand.
  bool marks_turns(const Entry& entry) const {
    if (!std::ranges::any_of(entry.text, [](char c) { return c > 0 && std::ispunct(c) != 0; })) return false;
    if (marks_.empty()) find_marks();
    return marks_[static_cast<std::size_t>(&entry - tokens_.entries_.data())];
  }
  /// The tokens that stand between the literal texts, in one go.
  void find_marks() const {
    marks_.assign(tokens_.entries_.size(), false);
    std::int64_t begin = 0;
    const auto look = [&](std::int64_t end) {
      const auto first = static_cast<std::size_t>(begin), last = static_cast<std::size_t>(std::max(begin, end));
      const std::string_view part = whole_.substr(0, std::min(last, whole_.size()));
      for (std::size_t at = first; at < part.size(); ++at)
        tokens_.raw_.prefixes(part.substr(at),
                              [&](std::size_t, std::int32_t entry) { marks_[static_cast<std::size_t>(entry)] = true; });
    };
    for (const ByteRange& range : literal_) {
      look(range.begin);
      begin = std::max(begin, range.end);
    }
    look(static_cast<std::int64_t>(whole_.size()));
  }

  const AddedTokens& tokens_;
  const EncodeOptions& options_;
  std::string_view whole_;
  const MappedText* mapped_;
  std::vector<ByteRange> literal_;
  mutable std::vector<bool> marks_;  ///< by entry, once one was asked for
};

AddedTokens::AddedTokens(const TokenizerData& data) : match_(data.added_match) {
  for (const AddedToken& token : data.added) {
    MappedText text{data.tokens[static_cast<std::size_t>(token.id)]};
    if (token.normalized) normalize(data.normalizers, text);
    if (text.text.empty()) continue;
    (token.normalized ? normalized_ : raw_).add(text.text, static_cast<std::int32_t>(entries_.size()));
    entries_.push_back({token, std::move(text.text)});
  }
  by_length_.resize(entries_.size());
  std::iota(by_length_.begin(), by_length_.end(), std::size_t{0});
  std::ranges::stable_sort(by_length_, std::ranges::greater(), [&](std::size_t i) { return entries_[i].text.size(); });
  rank_.resize(entries_.size());
  for (std::size_t rank = 0; rank < by_length_.size(); ++rank) rank_[by_length_[rank]] = rank;
}

std::vector<Fragment> AddedTokens::split(std::string_view text, const EncodeOptions& options) const {
  const Permission permission(*this, options, text, nullptr);
  if (match_ == AddedMatch::longest_first) return longest_first(text, permission);
  return leftmost_longest(raw_, text, permission);
}

std::vector<Fragment> AddedTokens::split_normalized(const MappedText& text, const EncodeOptions& options) const {
  return leftmost_longest(normalized_, text.text, Permission(*this, options, {}, &text));
}

std::vector<Fragment> AddedTokens::longest_first(std::string_view text, const Permission& permission) const {
  // Token by token, the longest first, each from left to right where nothing is taken yet. A place waits with its
  // longest token alone; where that finds its end taken, the place goes on with its next shorter one.
  using Waiting = std::pair<std::uint32_t, std::uint32_t>;  // rank of the token, where it begins
  const auto longest_at = [&](std::size_t at, std::size_t first_rank) -> std::optional<Waiting> {
    std::size_t best = entries_.size();
    raw_.prefixes(text.substr(at), [&](std::size_t bytes, std::int32_t index) {
      const std::size_t rank = rank_[static_cast<std::size_t>(index)];
      if (rank < first_rank || rank >= best) return;
      if (permission.allows(entries_[static_cast<std::size_t>(index)], at, at + bytes)) best = rank;
    });
    if (best == entries_.size()) return std::nullopt;
    return Waiting{static_cast<std::uint32_t>(best), static_cast<std::uint32_t>(at)};
  };
  std::vector<Waiting> first;
  for (std::size_t at = 0; at < text.size() && !raw_.empty(); ++at)
    if (const auto longest = longest_at(at, 0)) first.push_back(*longest);
  std::ranges::sort(first);

  std::priority_queue<Waiting, std::vector<Waiting>, std::greater<>> again;
  std::vector<bool> taken(first.empty() ? 0 : text.size());
  std::vector<Fragment> found;
  for (auto next = first.begin(); next != first.end() || !again.empty();) {
    Waiting waiting;
    if (again.empty() || (next != first.end() && *next < again.top())) {
      waiting = *next++;
    } else {
      waiting = again.top();
      again.pop();
    }
    const auto [rank, begin] = waiting;
    const Entry& entry = entries_[by_length_[rank]];
    const std::size_t end = begin + entry.text.size();
    if (taken[begin]) continue;
    // What is taken is no shorter than this one: it cannot lie between the ends.
    if (taken[end - 1]) {
      if (const auto shorter = longest_at(begin, rank + 1)) again.push(*shorter);
      continue;
    }
    for (std::size_t at = begin; at < end; ++at) taken[at] = true;
    found.push_back({entry.token.id, begin, end});
  }
  std::ranges::sort(found, {}, &Fragment::begin);
  std::vector<Fragment> fragments;
  std::size_t done = 0;
  for (const Fragment& fragment : found) {
    if (fragment.begin > done) fragments.push_back({-1, done, fragment.begin});
    fragments.push_back(fragment);
    done = fragment.end;
  }
  if (done < text.size()) fragments.push_back({-1, done, text.size()});
  return fragments;
}

std::vector<Fragment> AddedTokens::leftmost_longest(const ByteTrie& trie, std::string_view text,
                                                    const Permission& permission) const {
  std::vector<Fragment> fragments;
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size() && !trie.empty();) {
    std::size_t length = 0;
    const Entry* entry = nullptr;
    trie.prefixes(text.substr(at), [&](std::size_t bytes, std::int32_t index) {
      const Entry& candidate = entries_[static_cast<std::size_t>(index)];
      if (!permission.allows(candidate, at, at + bytes)) return;
      length = bytes;
      entry = &candidate;
    });
    if (entry == nullptr) {
      ++at;
      continue;
    }
    std::size_t begin = at, end = at + length;
    at = end;
    if (entry->token.single_word && !stands_alone(text, begin, end)) continue;
    if (entry->token.lstrip) begin = std::max(spaces_before(text, begin), done);
    if (entry->token.rstrip) end = spaces_behind(text, end);
    if (begin > done) fragments.push_back({-1, done, begin});
    fragments.push_back({entry->token.id, begin, end});
    done = at = end;
  }
  if (done < text.size()) fragments.push_back({-1, done, text.size()});
  return fragments;
}

}  // namespace headroom::tokenizer
