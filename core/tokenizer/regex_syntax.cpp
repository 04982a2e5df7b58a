// SPDX-License-Identifier: Apache-2.0
// The two syntaxes share most of what tokenizers use. White space is spelled out, since PCRE2's \s has U+180E beside
// the property White_Space; scripts are asked for as such, since PCRE2 means script extensions by a bare name.
#include "tokenizer/regex_syntax.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/error.h"
#include "checkpoint/metadata.h"

namespace headroom::tokenizer {
namespace {

constexpr std::size_t max_pattern = 16 << 10;
constexpr std::string_view white =
    R"(\x{9}-\x{d} \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view not_white =
    R"(\x{0}-\x{8}\x{e}-\x{1f}!-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::array<std::string_view, 37> categories = {
    "C",  "Cc", "Cf", "Cn", "Co", "Cs", "L",  "Ll", "Lm", "Lo", "Lt", "Lu", "M",  "Mc", "Me", "Mn", "N",  "Nd", "Nl",
    "No", "P",  "Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "S",  "Sc", "Sk", "Sm", "So", "Z",  "Zl", "Zp", "Zs"};

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& place) : pattern_(pattern), place_(place) {}

  std::string translate() {
    if (pattern_.size() > max_pattern) fail("is too long", std::to_string(pattern_.size()) + " bytes");
    if (pattern_.starts_with("(*")) fail("begins with a setting of PCRE2's", "(*");
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        escape(false);
      } else if (c == '[') {
        out_ += c;
        ++at_;
        character_class();
      } else if (c == '(') {
        group();
      } else {
        for (const std::string_view differs : {"}+", "{,"})
          if (pattern_.substr(at_).starts_with(differs))
            fail("has a quantifier that the two read differently", std::string(differs));
        out_ += c;
        ++at_;
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void fail(const std::string& what, const std::string& found) const {
    throw input_error(place_, "the regular expression " + what, "patterns that PCRE2 and Oniguruma read alike",
                      checkpoint::in_quotes(found) + " in " + checkpoint::in_quotes(pattern_));
  }

  void group() {
    constexpr std::array<std::string_view, 7> known = {"(?i:", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};
    out_ += '(';
    ++at_;
    if (at_ == pattern_.size() || (pattern_[at_] != '?' && pattern_[at_] != '*')) return;
    for (const std::string_view start : known) {
      if (!pattern_.substr(at_ - 1).starts_with(start)) continue;
      out_ += start.substr(1);
      at_ += start.size() - 1;
      return;
    }
    fail("has a group of a kind that is not supported", std::string(pattern_.substr(at_ - 1, 4)));
  }

  void character_class() {
    if (at_ < pattern_.size() && pattern_[at_] == '^') {
      out_ += '^';
      ++at_;
    }
    for (bool first = true; at_ < pattern_.size(); first = false) {
      const char c = pattern_[at_];
      if (c == ']' && !first) {
        out_ += c;
        ++at_;
        return;
      }
      if (c == '\\') {
        escape(true);
        continue;
      }
      if (c == '[' || pattern_.substr(at_).starts_with("&&"))
        fail("has a class inside a class", std::string(pattern_.substr(at_, 2)));
      if (c == ']') fail("has an empty class", "[]");
      out_ += c;
      ++at_;
    }
    fail("has a class that does not end", "[");
  }

  void property(char letter) {
    const std::size_t open = at_ + 2;
    const std::size_t close = pattern_.find('}', open);
    if (open >= pattern_.size() || pattern_[open] != '{' || close == std::string_view::npos)
      fail("has a property without a name", std::string(pattern_.substr(at_, 3)));
    std::string name(pattern_.substr(open + 1, close - open - 1));
    bool negated = letter == 'P';
    if (name.starts_with('^')) {
      negated = !negated;
      name.erase(0, 1);
    }
    const bool word = !name.empty() && std::ranges::all_of(name, [](unsigned char c) { return std::isalpha(c) != 0; });
    if (!word) fail("has a property of an unknown name", name);
    if (std::ranges::find(categories, name) == categories.end()) name = "sc:" + name;
    out_ += std::string(negated ? "\\P{" : "\\p{") + name + "}";
    at_ = close + 1;
  }

  void escape(bool in_class) {
    if (at_ + 1 == pattern_.size()) fail("ends in a backslash", "\\");
    const char c = pattern_[at_ + 1];
    const auto take = [&](std::string_view text) {
      out_ += text;
      at_ += 2;
    };
    const auto as_class = [&](std::string_view members, std::string_view open) {
      take(in_class ? std::string(members) : std::string(open) + std::string(members) + "]");
    };
    if (c == 'p' || c == 'P') return property(c);
    if (c == 's') return as_class(white, "[");
    if (c == 'S') return in_class ? take(not_white) : as_class(white, "[^");
    if (c == 'd' || c == 'D') return take(c == 'd' ? "\\p{Nd}" : "\\P{Nd}");
    if (c == 'r' || c == 'n' || c == 't' || c == 'f') return take(std::string{'\\', c});
    if (c == 'v') return take("\\x{b}");  // PCRE2's \v is any vertical space
    if (c == 'x' || c == 'u') return hexadecimal(c);
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      fail("has an escape that is not supported", std::string(pattern_.substr(at_, 2)));
    if (static_cast<unsigned char>(c) >= 0x80) {  // a character, escaped for nothing
      ++at_;
      return;
    }
    take(std::string{'\\', c});
  }

  void hexadecimal(char letter) {
    std::size_t digits = at_ + 2, end = digits;
    const bool braces = digits < pattern_.size() && pattern_[digits] == '{';
    if (braces) end = ++digits;
    const std::size_t most = braces ? 6 : letter == 'u' ? 4 : 2;
    while (end < pattern_.size() && end - digits < most &&
           std::isxdigit(static_cast<unsigned char>(pattern_[end])) != 0)
      ++end;
    const bool whole = braces ? end < pattern_.size() && pattern_[end] == '}' && end > digits : end - digits == most;
    if (!whole) fail("has a number that is not one", std::string(pattern_.substr(at_, 4)));
    out_ += "\\x{" + std::string(pattern_.substr(digits, end - digits)) + "}";
    at_ = end + (braces ? 1 : 0);
  }

  std::string_view pattern_;
  const std::string& place_;
  std::size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string translate_pattern(std::string_view pattern, const std::string& place) {
  return Translator(pattern, place).translate();
}

}  // namespace headroom::tokenizer
