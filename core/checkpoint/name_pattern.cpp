// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/name_pattern.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "base/error.h"
#include "checkpoint/metadata.h"

namespace headroom::checkpoint {
namespace {

constexpr std::size_t most_pattern_bytes = 8192, most_pattern_states = 1 << 16;
constexpr int most_pattern_depth = 64, most_pattern_count = 1000;

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}
std::bitset<256> bytes_where(auto test) {
  std::bitset<256> set;
  for (int c = 0; c < 256; ++c)
    if (test(static_cast<char>(c))) set.set(static_cast<std::size_t>(c));
  return set;
}
std::size_t index_of(char c) {
  return static_cast<unsigned char>(c);
}

/// \d, \w, \s and their opposites; none for other letters.
std::optional<std::bitset<256>> named_class(char letter) {
  switch (letter) {
    case 'd':
    case 'D': {
      const auto digits = bytes_where([](char c) { return c >= '0' && c <= '9'; });
      return letter == 'd' ? digits : ~digits;
    }
    case 'w':
    case 'W':
      return letter == 'w' ? bytes_where(is_word) : ~bytes_where(is_word);
    case 's':
    case 'S': {
      const auto space = bytes_where([](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); });
      return letter == 's' ? space : ~space;
    }
    default:
      return std::nullopt;
  }
}

}  // namespace

// Recursive descent to a tree, then from the tree to states, back to front: each piece is made with what follows it.
class NamePattern::Parser {
 public:
  Parser(std::string_view pattern, const std::string& place, NamePattern& out)
      : pattern_(pattern), place_(place), out_(out) {}

  void run() {
    if (pattern_.size() > most_pattern_bytes)
      throw input_error(place_, "the pattern is too long", "at most " + std::to_string(most_pattern_bytes) + " bytes",
                        std::to_string(pattern_.size()));
    const Node whole = alternatives(0);
    if (at_ < pattern_.size()) refuse("a ')' that closes nothing");
    out_.start_ = emit(whole, add(State{}));
  }

 private:
  struct Node {
    enum class Kind { nothing, state, sequence, either, repeat } kind = Kind::nothing;
    State state = {};
    std::vector<Node> parts = {};
    int least = 0, most = -1;  // of repeat; -1: no bound
  };

  [[noreturn]] void refuse(const std::string& found) const {
    throw input_error(place_, "this regular expression is not supported",
                      "literals, '.', classes, groups, '|', counts, '^', '$' and '\\b'",
                      found + " at byte " + std::to_string(at_) + " of " + in_quotes(pattern_));
  }
  bool more() const { return at_ < pattern_.size(); }
  char peek() const { return pattern_[at_]; }
  bool take(std::string_view text) {
    if (!pattern_.substr(at_).starts_with(text)) return false;
    at_ += text.size();
    return true;
  }

  Node alternatives(int depth) {
    if (depth > most_pattern_depth) refuse("groups nested more than " + std::to_string(most_pattern_depth) + " deep");
    Node either{.kind = Node::Kind::either};
    do {
      Node sequence{.kind = Node::Kind::sequence};
      while (more() && peek() != '|' && peek() != ')') sequence.parts.push_back(counted(depth));
      either.parts.push_back(std::move(sequence));
    } while (take("|"));
    return either;
  }

  Node counted(int depth) {
    Node node = atom(depth);
    int least = 1, most = 1;
    if (take("*")) {
      least = 0, most = -1;
    } else if (take("+")) {
      least = 1, most = -1;
    } else if (take("?")) {
      least = 0, most = 1;
    } else if (more() && peek() == '{') {
      braces(least, most);
    } else {
      return node;
    }
    if (take("+")) refuse("a possessive count");
    take("?");  // lazy: other groups, the same names
    if (more() && (peek() == '*' || peek() == '+' || peek() == '?')) refuse("a count of a count");
    Node repeat{.kind = Node::Kind::repeat, .state = {}, .parts = {}, .least = least, .most = most};
    repeat.parts.push_back(std::move(node));
    return repeat;
  }

  // "{2}", "{2,}", "{,3}", "{2,3}".
  void braces(int& least, int& most) {
    const std::size_t close = pattern_.find('}', at_);
    if (close == std::string_view::npos) refuse("a '{' that nothing closes");
    const std::string_view inside = pattern_.substr(at_ + 1, close - at_ - 1);
    const std::size_t comma = inside.find(',');
    const auto number = [&](std::string_view digits, int absent) {
      if (digits.empty()) return absent;
      int value = 0;
      for (const char c : digits) {
        if (c < '0' || c > '9') refuse("a count that is no number");
        value = value * 10 + (c - '0');
        if (value > most_pattern_count) refuse("a count over " + std::to_string(most_pattern_count));
      }
      return value;
    };
    if (inside.empty() || inside == ",") refuse("a count that is no number");
    least = number(inside.substr(0, comma), 0);
    most = comma == std::string_view::npos ? least : number(inside.substr(comma + 1), -1);
    if (most >= 0 && most < least) refuse("a count that ends before it begins");
    at_ = close + 1;
  }

  Node atom(int depth) {
    const char c = peek();
    if (take("(")) {
      if (take("?")) {
        if (take("P<")) {
          while (more() && peek() != '>') ++at_;
          if (!take(">")) refuse("a group's name without its end");
        } else if (!take(":")) {
          --at_;
          refuse("look-around, a flag or a condition, '(?'");
        }
      }
      Node inside = alternatives(depth + 1);
      if (!take(")")) refuse("a '(' that nothing closes");
      return inside;
    }
    if (c == '*' || c == '+' || c == '?') refuse("a count of nothing");
    ++at_;
    switch (c) {
      case '.':
        return one(Test::byte, bytes_where([](char b) { return b != '\n'; }));
      case '^':
        return one(Test::begin);
      case '$':
        return one(Test::end);
      case '[':
        return one(Test::byte, byte_class());
      case '\\':
        return escape();
      default:
        return literal(c);
    }
  }

  static Node one(Test test, const std::bitset<256>& bytes = {}) {
    return {.kind = Node::Kind::state, .state = {.test = test, .bytes = bytes}};
  }
  static Node literal(char c) { return one(Test::byte, std::bitset<256>().set(index_of(c))); }

  Node escape() {
    if (!more()) refuse("a '\\' at the end");
    const char c = peek();
    ++at_;
    if (const auto named = named_class(c)) return one(Test::byte, *named);
    if (c == 'b') return one(Test::word_edge);
    if (c == 'B') return one(Test::inside_word);
    if (c == 'A') return one(Test::begin);
    if (c == 'Z') return one(Test::end);
    if (is_word(c) && c != '_') {  // \1, \x41, \n, …
      --at_;
      refuse(std::string("the escape '\\") + c + "'");
    }
    return literal(c);
  }

  std::bitset<256> byte_class() {
    const bool opposite = take("^");
    std::bitset<256> set;
    for (bool first = true;; first = false) {
      if (!more()) refuse("a '[' that nothing closes");
      char low = peek();
      ++at_;
      if (low == ']' && !first) break;
      if (low == '\\') {
        if (!more()) refuse("a '\\' at the end");
        low = peek();
        ++at_;
        if (const auto named = named_class(low)) {
          set |= *named;
          continue;
        }
        if (is_word(low) && low != '_') refuse("an escape in a class");
      }
      char high = low;
      if (at_ + 1 < pattern_.size() && peek() == '-' && pattern_[at_ + 1] != ']') {
        high = pattern_[at_ + 1];
        if (high == '\\') refuse("an escape as the end of a range");
        at_ += 2;
        if (index_of(high) < index_of(low)) refuse("a range that ends before it begins");
      }
      for (std::size_t b = index_of(low); b <= index_of(high); ++b) set.set(b);
    }
    return opposite ? ~set : set;
  }

  std::int32_t add(const State& state) {
    if (out_.states_.size() >= most_pattern_states) refuse("counts that multiply beyond what is reasonable");
    out_.states_.push_back(state);
    return static_cast<std::int32_t>(out_.states_.size() - 1);
  }

  /// States for `node` that go on to `next`; returns the first.
  std::int32_t emit(const Node& node, std::int32_t next) {
    if (++emitted_ > 4 * most_pattern_states) refuse("counts that multiply beyond what is reasonable");
    switch (node.kind) {
      case Node::Kind::nothing:
        return next;
      case Node::Kind::state: {
        State state = node.state;
        state.next = next;
        return add(state);
      }
      case Node::Kind::sequence:
        for (auto part = node.parts.rbegin(); part != node.parts.rend(); ++part) next = emit(*part, next);
        return next;
      case Node::Kind::either: {
        std::int32_t first = emit(node.parts.back(), next);
        for (std::size_t i = node.parts.size() - 1; i-- > 0;)
          first = add({.test = Test::split, .bytes = {}, .next = emit(node.parts[i], next), .other = first});
        return first;
      }
      case Node::Kind::repeat: {
        const Node& part = node.parts.front();
        if (node.most < 0) {
          const std::int32_t loop = add({.test = Test::split, .bytes = {}, .next = -1, .other = next});
          const std::int32_t body = emit(part, loop);
          out_.states_[static_cast<std::size_t>(loop)].next = body;
          next = loop;
        } else {
          const std::int32_t after = next;
          for (int i = node.least; i < node.most; ++i)
            next = add({.test = Test::split, .bytes = {}, .next = emit(part, next), .other = after});
        }
        for (int i = 0; i < node.least; ++i) next = emit(part, next);
        return next;
      }
    }
    return next;
  }

  std::string_view pattern_;
  const std::string& place_;
  NamePattern& out_;
  std::size_t at_ = 0, emitted_ = 0;
};

NamePattern::NamePattern(std::string_view pattern, const std::string& place) {
  Parser(pattern, place, *this).run();
}

void NamePattern::follow(std::int32_t state, std::string_view name, std::size_t at, std::vector<std::int32_t>& reached,
                         std::vector<std::uint8_t>& seen) const {
  std::vector<std::int32_t> waiting = {state};
  const auto word_at = [&](std::size_t place) { return place < name.size() && is_word(name[place]); };
  while (!waiting.empty()) {
    const std::int32_t here = waiting.back();
    waiting.pop_back();
    if (here < 0 || seen[static_cast<std::size_t>(here)]) continue;
    seen[static_cast<std::size_t>(here)] = 1;
    const State& one = states_[static_cast<std::size_t>(here)];
    const bool edge = (at > 0 && word_at(at - 1)) != word_at(at);
    switch (one.test) {
      case Test::byte:
      case Test::accept:
        reached.push_back(here);
        break;
      case Test::split:
        waiting.push_back(one.next);
        waiting.push_back(one.other);
        break;
      case Test::begin:
        if (at == 0) waiting.push_back(one.next);
        break;
      case Test::end:
        if (at == name.size()) waiting.push_back(one.next);
        break;
      case Test::word_edge:
        if (edge) waiting.push_back(one.next);
        break;
      case Test::inside_word:
        if (!edge) waiting.push_back(one.next);
        break;
    }
  }
}

bool NamePattern::matches(std::string_view name) const {
  std::vector<std::int32_t> now, next;
  std::vector<std::uint8_t> seen(states_.size());
  follow(start_, name, 0, now, seen);
  for (std::size_t at = 0; at < name.size() && !now.empty(); ++at) {
    next.clear();
    std::ranges::fill(seen, std::uint8_t{0});
    for (const std::int32_t state : now) {
      const State& one = states_[static_cast<std::size_t>(state)];
      if (one.test == Test::byte && one.bytes.test(index_of(name[at]))) follow(one.next, name, at + 1, next, seen);
    }
    std::swap(now, next);
  }
  return std::ranges::any_of(
      now, [&](std::int32_t state) { return states_[static_cast<std::size_t>(state)].test == Test::accept; });
}

}  // namespace headroom::checkpoint
