// SPDX-License-Identifier: Apache-2.0
// What finds pieces in a text: a literal, a scanner written by hand, a class of characters, or a regular expression of
// a tokenizer.json, matched by PCRE2 with limits.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/pretokenizer.h"

namespace headroom::tokenizer {

struct Match {
  std::size_t begin = 0, end = 0;  ///< bytes, [begin, end)
};

class Matcher {
 public:
  virtual ~Matcher() = default;
  /// Appends all matches of `text`, which is UTF-8, in order; they do not overlap and are not empty. Throws an input
  /// error where a pattern needs more steps than it may.
  virtual void find(std::string_view text, std::vector<Match>& out) const = 0;
};

std::shared_ptr<const Matcher> literal_matcher(std::string text);
/// Single characters (`runs`: runs of them) for which `wanted` holds.
std::shared_ptr<const Matcher> class_matcher(bool (*wanted)(char32_t), bool runs);
/// Every word of a scanner is a match.
std::shared_ptr<const Matcher> scanner_matcher(SplitFunction split);
/// By PCRE2. `pattern` is in the syntax of tokenizer.json (Oniguruma's); constructs whose meaning differs between the
/// two are refused by name. `place` stands before the messages.
std::shared_ptr<const Matcher> regex_matcher(std::string_view pattern, const std::string& place);
/// A scanner where one knows the pattern, else regex_matcher().
std::shared_ptr<const Matcher> pattern_matcher(std::string_view pattern, const std::string& place);

}  // namespace headroom::tokenizer
