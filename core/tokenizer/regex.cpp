// SPDX-License-Identifier: Apache-2.0
// Patterns come from files that nobody vouches for: PCRE2 gets its limits, and the clock is looked at between calls.
#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <chrono>
#include <utility>

#include "base/error.h"
#include "checkpoint/metadata.h"
#include "tokenizer/regex_syntax.h"
#include "tokenizer/unicode.h"

namespace headroom::tokenizer {
namespace {

constexpr std::uint32_t match_limit = 20'000'000, depth_limit = 100'000, heap_limit_kib = 64 << 10;
constexpr std::size_t starts_a_call = 1024, jit_stack_bytes = 1 << 20;
constexpr std::chrono::seconds time_limit{20};

class LiteralMatcher final : public Matcher {
 public:
  explicit LiteralMatcher(std::string text) : text_(std::move(text)) {}
  void find(std::string_view text, std::vector<Match>& out) const override {
    for (std::size_t at = 0; (at = text.find(text_, at)) != std::string_view::npos; at += text_.size())
      out.push_back({at, at + text_.size()});
  }

 private:
  std::string text_;
};

class ClassMatcher final : public Matcher {
 public:
  ClassMatcher(bool (*wanted)(char32_t), bool runs) : wanted_(wanted), runs_(runs) {}
  void find(std::string_view text, std::vector<Match>& out) const override {
    bool inside = false;
    for (std::size_t at = 0; at < text.size();) {
      const auto [point, length] = point_at(text, at);
      const bool found = wanted_(point);
      if (found && inside && runs_)
        out.back().end = at + length;
      else if (found)
        out.push_back({at, at + length});
      inside = found;
      at += length;
    }
  }

 private:
  bool (*wanted_)(char32_t);
  bool runs_;
};

class ScannerMatcher final : public Matcher {
 public:
  explicit ScannerMatcher(SplitFunction split) : split_(split) {}
  void find(std::string_view text, std::vector<Match>& out) const override {
    const CodePoints decoded = decode_utf8(text, "text");
    std::vector<std::size_t> ends;
    ends.reserve(text.size() / 4);
    split_(decoded.points, ends);
    out.reserve(out.size() + ends.size());
    std::size_t begin = 0;
    for (const std::size_t end : ends) {
      const auto byte = static_cast<std::size_t>(decoded.offsets[end]);
      out.push_back({begin, byte});
      begin = byte;
    }
  }

 private:
  SplitFunction split_;
};

template <auto release>
struct Release {
  template <class T>
  void operator()(T* pointer) const {
    release(pointer);
  }
};
using Code = std::unique_ptr<pcre2_code, Release<pcre2_code_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Release<pcre2_match_data_free>>;
using MatchContext = std::unique_ptr<pcre2_match_context, Release<pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Release<pcre2_jit_stack_free>>;

std::string pcre_message(int code) {
  unsigned char text[160];
  const int length = pcre2_get_error_message(code, text, sizeof text);
  return length > 0 ? reinterpret_cast<const char*>(text) : "error " + std::to_string(code);
}

class RegexMatcher final : public Matcher {
 public:
  RegexMatcher(std::string_view pattern, std::string place) : place_(std::move(place)) {
    const std::string translated = translate_pattern(pattern, place_);
    int error = 0;
    std::size_t offset = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                              PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C |
                                  PCRE2_USE_OFFSET_LIMIT | PCRE2_NO_AUTO_CAPTURE,
                              &error, &offset, nullptr));
    if (!code_)
      throw input_error(place_, "the regular expression is not understood: " + pcre_message(error),
                        "a pattern that PCRE2 compiles", checkpoint::in_quotes(pattern));
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);  // where there is no JIT, it is interpreted
  }

  void find(std::string_view text, std::vector<Match>& out) const override {
    const MatchData data(pcre2_match_data_create(1, nullptr));
    const MatchContext context(pcre2_match_context_create(nullptr));
    const JitStack stack(pcre2_jit_stack_create(32 << 10, jit_stack_bytes, nullptr));
    if (!data || !context || !stack) throw device_error("no memory for a regular expression");
    pcre2_set_match_limit(context.get(), match_limit);
    pcre2_set_depth_limit(context.get(), depth_limit);
    pcre2_set_heap_limit(context.get(), heap_limit_kib);
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
    const auto end = std::chrono::steady_clock::now() + time_limit;
    int calls = 0;
    for (std::size_t at = 0; at < text.size();) {
      pcre2_set_offset_limit(context.get(), at + starts_a_call);
      const int found = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                    PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, data.get(), context.get());
      if (found == PCRE2_ERROR_NOMATCH) {
        at += starts_a_call + 1;
        while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) ++at;
      } else if (found < 0) {
        throw input_error(place_, "the regular expression cannot be matched here: " + pcre_message(found),
                          "a pattern that needs few steps", std::to_string(text.size()) + " bytes of text");
      } else {
        const PCRE2_SIZE* const range = pcre2_get_ovector_pointer(data.get());
        if (range[1] <= range[0] || range[0] < at)  // \K and the like
          throw input_error(place_, "the regular expression matches backwards", "matches one behind the other");
        out.push_back({range[0], range[1]});
        at = range[1];
      }
      if ((++calls & 255) == 0 || found < 0) check_clock(end);
    }
  }

 private:
  void check_clock(std::chrono::steady_clock::time_point end) const {
    if (std::chrono::steady_clock::now() > end)
      throw input_error(place_, "the regular expression takes too long", "at most 20 s for a text", "more");
  }

  std::string place_;
  Code code_;
};

}  // namespace

std::shared_ptr<const Matcher> literal_matcher(std::string text) {
  return std::make_shared<LiteralMatcher>(std::move(text));
}

std::shared_ptr<const Matcher> class_matcher(bool (*wanted)(char32_t), bool runs) {
  return std::make_shared<ClassMatcher>(wanted, runs);
}

std::shared_ptr<const Matcher> scanner_matcher(SplitFunction split) {
  return std::make_shared<ScannerMatcher>(split);
}

std::shared_ptr<const Matcher> regex_matcher(std::string_view pattern, const std::string& place) {
  return std::make_shared<RegexMatcher>(pattern, place);
}

std::shared_ptr<const Matcher> pattern_matcher(std::string_view pattern, const std::string& place) {
  const SplitFunction known = known_pattern(pattern);
  return known != nullptr ? scanner_matcher(known) : regex_matcher(pattern, place);
}

}  // namespace headroom::tokenizer
