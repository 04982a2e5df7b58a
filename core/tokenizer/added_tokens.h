// SPDX-License-Identifier: Apache-2.0
// Tokens that are cut out of a text before the model sees it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/byte_trie.h"
#include "tokenizer/mapped_text.h"
#include "tokenizer/tokenizer_data.h"

namespace headroom::tokenizer {

/// A piece of the text: an added token, or plain text (id -1).
struct Fragment {
  std::int32_t id = -1;
  std::size_t begin = 0, end = 0;  ///< bytes
};

class AddedTokens {
 public:
  /// Takes what it needs of `data`; texts of tokens marked `normalized` are normalised first.
  explicit AddedTokens(const TokenizerData& data);

  /// Cuts the text as it came: tokens that are not looked for in normalised text. Control tokens only where
  /// `options.parse_special` and no byte of them lies in `options.literal`; the others everywhere, but for those that a
  /// template writes around the literal text, which count as control tokens.
  std::vector<Fragment> split(std::string_view text, const EncodeOptions& options) const;
  /// Cuts a piece that was normalised: the other tokens.
  std::vector<Fragment> split_normalized(const MappedText& text, const EncodeOptions& options) const;
  bool has_normalized() const { return !normalized_.empty(); }

 private:
  struct Entry {
    AddedToken token;
    std::string text;
  };
  class Permission;

  std::vector<Fragment> longest_first(std::string_view text, const Permission& permission) const;
  std::vector<Fragment> leftmost_longest(const ByteTrie& trie, std::string_view text,
                                         const Permission& permission) const;

  AddedMatch match_;
  std::vector<Entry> entries_;
  ByteTrie raw_, normalized_;           ///< of indices into entries_
  std::vector<std::size_t> by_length_;  ///< entries_, longest text first
  std::vector<std::size_t> rank_;       ///< by entry: its place in by_length_
};

}  // namespace headroom::tokenizer
