// SPDX-License-Identifier: Apache-2.0
// Regular expressions of published tokenizers that a scanner knows.
#include <array>

#include "tokenizer/pretokenizer.h"

namespace headroom::tokenizer {
namespace {

using CodePointSpan = std::span<const char32_t>;
using WordEnds = std::vector<std::size_t>;

#define HEADROOM_CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define HEADROOM_SPACES R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define HEADROOM_UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define HEADROOM_LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define HEADROOM_LEAD R"([^\r\n\p{L}\p{N}]?)"

struct KnownPattern {
  std::string_view pattern;
  SplitFunction split;
};

constexpr std::array known_patterns = {
    KnownPattern{R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
                 [](CodePointSpan text, WordEnds& ends) { split_gpt2(text, 0, ends); }},
    KnownPattern{HEADROOM_CONTRACTIONS "|" HEADROOM_LEAD
                                       R"(\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)" HEADROOM_SPACES,
                 [](CodePointSpan text, WordEnds& ends) {
                   split_llama3(text, {3, false, true}, ends);
                 }},
    KnownPattern{HEADROOM_CONTRACTIONS "|" HEADROOM_LEAD R"(\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)" HEADROOM_SPACES,
                 [](CodePointSpan text, WordEnds& ends) {
                   split_llama3(text, {1, false, true}, ends);
                 }},
    KnownPattern{HEADROOM_CONTRACTIONS "|" HEADROOM_LEAD
                                       R"([\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)" HEADROOM_SPACES,
                 [](CodePointSpan text, WordEnds& ends) {
                   split_llama3(text, {1, true, true}, ends);
                 }},
    KnownPattern{HEADROOM_LEAD HEADROOM_UPPER
                 "*" HEADROOM_LOWER "+" HEADROOM_CONTRACTIONS "?|" HEADROOM_LEAD HEADROOM_UPPER "+" HEADROOM_LOWER
                 "*" HEADROOM_CONTRACTIONS R"(?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" HEADROOM_SPACES,
                 [](CodePointSpan text, WordEnds& ends) {
                   split_cased(text, {3, true, false}, ends);
                 }},
    KnownPattern{HEADROOM_LEAD HEADROOM_UPPER "*" HEADROOM_LOWER "+|" HEADROOM_LEAD HEADROOM_UPPER "+" HEADROOM_LOWER
                                              R"(*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" HEADROOM_SPACES,
                 [](CodePointSpan text, WordEnds& ends) {
                   split_cased(text, {1, false, false}, ends);
                 }},
};

#undef HEADROOM_CONTRACTIONS
#undef HEADROOM_SPACES
#undef HEADROOM_UPPER
#undef HEADROOM_LOWER
#undef HEADROOM_LEAD

}  // namespace

SplitFunction known_pattern(std::string_view pattern) {
  for (const KnownPattern& known : known_patterns)
    if (known.pattern == pattern) return known.split;
  return nullptr;
}

}  // namespace headroom::tokenizer
