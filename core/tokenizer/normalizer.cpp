// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/normalizer.h"

#include <algorithm>

#include "base/error.h"
#include "tokenizer/unicode.h"

namespace headroom::tokenizer {
namespace {

constexpr std::size_t max_normalised = std::size_t{3} << 30;  // places are 32 bits wide

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

void replace(const NormalizerStep& step, MappedText& text) {
  std::vector<Match> matches;
  step.what->find(text.text, matches);
  if (matches.empty()) return;
  if (step.content.size() > 1 && matches.size() > (max_normalised - text.text.size()) / step.content.size())
    throw input_error("text", "the normalised text is too long", "at most 3 GiB", "more");
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
        replace(step, text);
        break;
    }
  }
}

}  // namespace headroom::tokenizer
