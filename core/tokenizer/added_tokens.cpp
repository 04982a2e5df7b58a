// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <cctype>
#include <numeric>
#include <optional>

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
  Permission(const EncodeOptions& options, std::string_view whole, const MappedText* mapped)
      : options_(options), whole_(whole), mapped_(mapped) {
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
    for (const auto& [known, answer] : marks_)
      if (known == entry.token.id) return answer;
    bool answer = false;
    if (std::ranges::any_of(entry.text, [](char c) { return c > 0 && std::ispunct(c) != 0; })) {
      for (std::size_t at = whole_.find(entry.text); at != std::string_view::npos && !answer;
           at = whole_.find(entry.text, at + 1))
        answer = !is_literal(static_cast<std::int64_t>(at), static_cast<std::int64_t>(at + entry.text.size()));
    }
    marks_.emplace_back(entry.token.id, answer);
    return answer;
  }

  const EncodeOptions& options_;
  std::string_view whole_;
  const MappedText* mapped_;
  std::vector<ByteRange> literal_;
  mutable std::vector<std::pair<std::int32_t, bool>> marks_;  ///< answers so far; few tokens stand in literal text
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
}

std::vector<Fragment> AddedTokens::split(std::string_view text, const EncodeOptions& options) const {
  const Permission permission(options, text, nullptr);
  if (match_ == AddedMatch::longest_first) return longest_first(text, permission);
  return leftmost_longest(raw_, text, permission);
}

std::vector<Fragment> AddedTokens::split_normalized(const MappedText& text, const EncodeOptions& options) const {
  return leftmost_longest(normalized_, text.text, Permission(options, {}, &text));
}

std::vector<Fragment> AddedTokens::longest_first(std::string_view text, const Permission& permission) const {
  std::vector<Fragment> fragments;
  if (text.empty()) return fragments;
  fragments.push_back({-1, 0, text.size()});
  if (raw_.empty()) return fragments;
  std::vector<bool> there(entries_.size());  // most texts hold few of thousands of tokens
  for (std::size_t at = 0; at < text.size(); ++at)
    raw_.prefixes(text.substr(at),
                  [&](std::size_t, std::int32_t entry) { there[static_cast<std::size_t>(entry)] = true; });
  for (const std::size_t index : by_length_) {
    const Entry& entry = entries_[index];
    if (!there[index]) continue;
    std::vector<Fragment> next;
    for (const Fragment& fragment : fragments) {
      if (fragment.id >= 0) {
        next.push_back(fragment);
        continue;
      }
      std::size_t done = fragment.begin, from = done;
      const std::string_view inside = text.substr(0, fragment.end);
      for (std::size_t hit; (hit = inside.find(entry.text, from)) != std::string_view::npos;) {
        const std::size_t end = hit + entry.text.size();
        from = hit + 1;
        if (!permission.allows(entry, hit, end)) continue;
        if (hit > done) next.push_back({-1, done, hit});
        next.push_back({entry.token.id, hit, end});
        done = from = end;
      }
      if (done < fragment.end) next.push_back({-1, done, fragment.end});
    }
    fragments = std::move(next);
  }
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
