// SPDX-License-Identifier: Apache-2.0
// The families of patterns that the pre-tokenizers are made of. Each alternative is tried in the pattern's order at the
// current position; every scan is linear in the text.
#include "tokenizer/pretokenizer.h"
#include "tokenizer/unicode.h"

namespace headroom::tokenizer {
namespace {

struct Scanner {
  std::span<const char32_t> text;

  bool inside(std::size_t at) const { return at < text.size(); }
  bool is(std::size_t at, CodePointClass kind) const { return inside(at) && class_of(text[at]) == kind; }
  bool letter(std::size_t at) const { return is(at, CodePointClass::letter); }
  bool mark(std::size_t at) const { return is(at, CodePointClass::mark); }
  bool number(std::size_t at) const { return is(at, CodePointClass::number); }
  bool space(std::size_t at) const { return inside(at) && is_white_space(text[at]); }
  bool newline(std::size_t at) const { return inside(at) && (text[at] == '\n' || text[at] == '\r'); }
  bool rest(std::size_t at) const { return inside(at) && !space(at) && !letter(at) && !number(at); }

  /// Length of 's 't 'm 'd 're 've 'll at `at`, else 0.
  std::size_t contraction(std::size_t at, bool any_case, bool long_s = false) const {
    if (!inside(at + 1) || text[at] != '\'') return 0;
    const auto lower = [&](std::size_t i) -> char32_t {
      const char32_t c = inside(i) ? text[i] : 0;
      if (long_s && c == 0x17f) return 's';
      return any_case && c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
    };
    const char32_t first = lower(at + 1), second = lower(at + 2);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l')) return 3;
    return 0;
  }

  std::size_t end_of_spaces(std::size_t at) const {
    while (space(at)) ++at;
    return at;
  }

  std::size_t digits(std::size_t at, std::size_t most) const {
    const std::size_t begin = at;
    while (number(at) && at - begin < most) ++at;
    return at;
  }

  /// \s*[\r\n]+|\s+(?!\S)|\s+
  std::size_t newlines_or_spaces(std::size_t at) const {
    const std::size_t end = end_of_spaces(at);
    std::size_t last_newline = end;
    while (last_newline > at && !newline(last_newline - 1)) --last_newline;
    return last_newline > at ? last_newline : spaces(at);
  }

  /// \s+(?!\S)|\s+ : a run of white space leaves its last one to the word that follows.
  std::size_t spaces(std::size_t at) const {
    const std::size_t end = end_of_spaces(at);
    return inside(end) && end - at > 1 ? end - 1 : end;
  }
};

}  // namespace

void split_gpt2(std::span<const char32_t> text, std::size_t offset, std::vector<std::size_t>& ends) {
  const Scanner s{text};
  for (std::size_t at = 0; at < text.size(); ends.push_back(offset + at)) {
    if (const std::size_t length = s.contraction(at, false)) {
      at += length;
      continue;
    }
    std::size_t word = at + (text[at] == ' ' ? 1 : 0);
    if (s.letter(word)) {
      while (s.letter(word)) ++word;
    } else if (s.number(word)) {
      while (s.number(word)) ++word;
    } else if (s.rest(word)) {
      while (s.rest(word)) ++word;
    } else {
      word = s.spaces(at);
    }
    at = word;
  }
}

void split_llama3(std::span<const char32_t> text, const Llama3Pattern& pattern, std::vector<std::size_t>& ends) {
  const Scanner s{text};
  const bool marks = pattern.marks_are_letters;
  const auto letter = [&](std::size_t at) { return s.letter(at) || (marks && s.mark(at)); };
  const auto rest = [&](std::size_t at) { return s.rest(at) && !letter(at); };
  for (std::size_t at = 0; at < text.size(); ends.push_back(at)) {
    if (const std::size_t length = s.contraction(at, true, pattern.long_s)) {
      at += length;
      continue;
    }
    const bool may_lead = !s.newline(at) && !s.letter(at) && !s.number(at);
    if (std::size_t word = at + (may_lead && letter(at + 1) ? 1 : 0); letter(word)) {
      while (letter(word)) ++word;
      at = word;
      continue;
    }
    if (s.number(at)) {
      at = s.digits(at, pattern.max_digits);
      continue;
    }
    if (std::size_t word = at + (text[at] == ' ' ? 1 : 0); rest(word)) {
      while (rest(word)) ++word;
      while (s.newline(word)) ++word;
      at = word;
      continue;
    }
    at = s.newlines_or_spaces(at);
  }
}

void split_cased(std::span<const char32_t> text, const CasedPattern& pattern, std::vector<std::size_t>& ends) {
  const Scanner s{text};
  const bool ascii = pattern.ascii_case;
  const auto upper = [&](std::size_t at) {
    if (!ascii) return s.inside(at) && is_upper_side(text[at]);
    return s.letter(at) && !(text[at] >= 'a' && text[at] <= 'z');
  };
  const auto lower = [&](std::size_t at) {
    if (!ascii) return s.inside(at) && is_lower_side(text[at]);
    return s.letter(at) && !(text[at] >= 'A' && text[at] <= 'Z');
  };
  // upper* lower+ : the run of the first gives back what the second needs; `begin` where there is no lower one.
  const auto up_and_low = [&](std::size_t begin) {
    std::size_t end = begin;
    while (upper(end)) ++end;
    while (end > begin && !lower(end)) --end;
    while (lower(end)) ++end;
    return end;
  };
  // upper+ lower*, where upper* lower+ has failed.
  const auto only_up = [&](std::size_t begin) {
    std::size_t end = begin;
    while (upper(end)) ++end;
    return end;
  };
  for (std::size_t at = 0; at < text.size(); ends.push_back(at)) {
    // A mark may lead a word or begin it: each alternative is tried with a lead, then without.
    const std::size_t lead = !s.newline(at) && !s.letter(at) && !s.number(at) ? 1 : 0;
    std::size_t end = at;
    const auto attempt = [&](std::size_t begin, std::size_t found) {
      if (end == at && found > begin) end = found;
    };
    attempt(at + lead, up_and_low(at + lead));
    attempt(at, up_and_low(at));
    attempt(at + lead, only_up(at + lead));
    attempt(at, only_up(at));
    if (end > at) {
      at = end + (pattern.contractions ? s.contraction(end, true, !ascii) : 0);
      continue;
    }
    if (s.number(at)) {
      at = s.digits(at, pattern.max_digits);
      continue;
    }
    if (std::size_t word = at + (text[at] == ' ' ? 1 : 0); s.rest(word)) {
      while (s.rest(word)) ++word;
      while (s.newline(word) || (s.inside(word) && text[word] == '/')) ++word;
      at = word;
      continue;
    }
    at = s.newlines_or_spaces(at);
  }
}

}  // namespace headroom::tokenizer
