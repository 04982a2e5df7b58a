// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/normalizer.h"

#include <algorithm>

#include "base/error.h"
#include "tokenizer/unicode.h"

namespace headroom::tokenizer {
namespace {

// A text that its normalisers make longer than this is a file's mistake, or an attack on memory: the usual ones triple
// it at most, and NFKC makes 33 bytes of three at its worst.
constexpr std::size_t max_growth = 32, always_allowed = std::size_t{1} << 20;
constexpr std::size_t most_of_all = std::size_t{3} << 30;  // places are 32 bits wide

std::size_t normalised_limit(std::size_t original) {
  return std::clamp(original * max_growth, always_allowed, most_of_all);
}

[[noreturn]] void refuse_growth(std::size_t original, std::size_t limit) {
  throw input_error("text", "the normaliser of the model's tokenizer makes the text too long",
                    "at most " + std::to_string(limit) + " bytes from " + std::to_string(original), "more");
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

void to_normal_form(NormalForm form, MappedText& text) {
  if (is_ascii(text.text)) return;
  MappedTextWriter out(text);
  const std::string_view all = text.text;
  for (std::size_t at = 0; at < all.size();) {
    const std::size_t end = normal_piece_end(form, all, at);
    if (end == at + 1) {  // one ASCII character
      out.keep(at, end);
    } else {
      const std::string_view piece = all.substr(at, end - at);
      const std::string normal = normalise(form, piece);
      if (normal == piece)
        out.keep(at, end);
      else
        out.put(at, end, normal);
    }
    at = end;
  }
  text = out.finish();
}

void to_lower_case(MappedText& text) {
  MappedTextWriter out(text);
  std::string lower;
  for (std::size_t at = 0; at < text.text.size();) {
    const auto [point, length] = point_at(text.text, at);
    lower.clear();
    append_lower_case(lower, point);
    out.put(at, at + length, lower);
    at += length;
  }
  text = out.finish();
}

void strip(bool left, bool right, MappedText& text) {
  const std::string_view all = text.text;
  std::size_t begin = 0, end = all.size();
  while (left && begin < end) {
    const auto [point, length] = point_at(all, begin);
    if (!is_white_space(point)) break;
    begin += length;
  }
  while (right && end > begin) {
    std::size_t last = end - 1;
    while (last > begin && (static_cast<unsigned char>(all[last]) & 0xc0) == 0x80) --last;
    if (!is_white_space(point_at(all, last).first)) break;
    end = last;
  }
  if (begin == 0 && end == all.size()) return;
  MappedTextWriter out(text);
  out.keep(begin, end);
  text = out.finish();
}

void replace(const NormalizerStep& step, MappedText& text, std::size_t original) {
  std::vector<Match> matches;
  step.what->find(text.text, matches);
  if (matches.empty()) return;
  const std::size_t limit = normalised_limit(original);
  if (!step.content.empty() && matches.size() > (limit - std::min(limit, text.text.size())) / step.content.size()) {
    std::size_t size = text.text.size();  // before anything is allocated
    for (const Match& match : matches) size = size - (match.end - match.begin) + step.content.size();
    if (size > limit) refuse_growth(original, limit);
  }
  MappedTextWriter out(text);
  std::size_t done = 0;
  for (const Match& match : matches) {
    out.keep(done, match.begin);
    out.put(match.begin, match.end, step.content);
    done = match.end;
  }
  out.keep(done, text.text.size());
  text = out.finish();
}

}  // namespace

void normalize(std::span<const NormalizerStep> steps, MappedText& text) {
  using Kind = NormalizerStep::Kind;
  const std::size_t original = text.text.size();
  for (const NormalizerStep& step : steps) {
    switch (step.kind) {
      case Kind::nfc:
        to_normal_form(NormalForm::nfc, text);
        break;
      case Kind::nfd:
        to_normal_form(NormalForm::nfd, text);
        break;
      case Kind::nfkc:
        to_normal_form(NormalForm::nfkc, text);
        break;
      case Kind::nfkd:
        to_normal_form(NormalForm::nfkd, text);
        break;
      case Kind::lowercase:
        to_lower_case(text);
        break;
      case Kind::strip:
        strip(step.left, step.right, text);
        break;
      case Kind::prepend:
        if (!text.text.empty()) {
          MappedTextWriter out(text);
          out.put(0, 0, step.content);
          out.keep(0, text.text.size());
          text = out.finish();
        }
        break;
      case Kind::replace:
        replace(step, text, original);
        break;
    }
    if (text.text.size() > normalised_limit(original)) refuse_growth(original, normalised_limit(original));
  }
}

}  // namespace headroom::tokenizer
