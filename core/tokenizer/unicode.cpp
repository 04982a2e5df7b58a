// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/unicode.h"

#include <algorithm>

#include "base/error.h"

namespace headroom::tokenizer {
namespace {

constexpr std::size_t num_code_points = 0x110000;

std::vector<CodePointClass> expand() {
  std::vector<CodePointClass> classes(num_code_points);
  const auto runs = code_point_runs();
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const std::size_t end = i + 1 < runs.size() ? runs[i + 1].begin : num_code_points;
    std::fill(classes.begin() + runs[i].begin, classes.begin() + static_cast<std::ptrdiff_t>(end), runs[i].kind);
  }
  return classes;
}

/// Bytes of the sequence that starts at `at`, 0 where it is not UTF-8.
std::size_t decode_one(std::string_view text, std::size_t at, char32_t& point) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) {
    point = lead;
    return 1;
  }
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() - at < length) return 0;
  point = lead & (0xffu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    point = point << 6 | (byte(i) & 0x3f);
  }
  constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = point >= 0xd800 && point < 0xe000;
  return point < smallest[length] || point >= num_code_points || surrogate ? 0 : length;
}

}  // namespace

CodePointClass class_of(char32_t point) {
  static const std::vector<CodePointClass> classes = expand();
  return point < num_code_points ? classes[point] : CodePointClass::other;
}

bool is_white_space(char32_t point) {
  if (point < 0x80) return point == ' ' || (point >= 9 && point <= 13);
  if (point < 0x1680) return point == 0x85 || point == 0xa0;
  return point == 0x1680 || (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 ||
         point == 0x202f || point == 0x205f || point == 0x3000;
}

CodePoints decode_utf8(std::string_view text, std::string_view place, std::int64_t first_byte) {
  CodePoints out;
  out.points.reserve(text.size());
  out.offsets.reserve(text.size() + 1);
  for (std::size_t at = 0; at < text.size();) {
    char32_t point = 0;
    const std::size_t length = decode_one(text, at, point);
    if (length == 0) {
      constexpr std::string_view digits = "0123456789abcdef";
      const auto bad = static_cast<unsigned char>(text[at]);
      throw input_error(std::string(place), "the text is not valid UTF-8", "UTF-8",
                        std::string("byte 0x") + digits[bad >> 4] + digits[bad & 15] + " at byte offset " +
                            std::to_string(first_byte + static_cast<std::int64_t>(at)));
    }
    out.points.push_back(point);
    out.offsets.push_back(static_cast<std::int64_t>(at));
    at += length;
  }
  out.offsets.push_back(static_cast<std::int64_t>(text.size()));
  return out;
}

void append_utf8(std::string& out, char32_t point) {
  const auto put = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (point < 0x80) {
    put(point);
  } else if (point < 0x800) {
    put(0xc0 | point >> 6);
    put(0x80 | (point & 0x3f));
  } else if (point < 0x10000) {
    put(0xe0 | point >> 12);
    put(0x80 | (point >> 6 & 0x3f));
    put(0x80 | (point & 0x3f));
  } else {
    put(0xf0 | point >> 18);
    put(0x80 | (point >> 12 & 0x3f));
    put(0x80 | (point >> 6 & 0x3f));
    put(0x80 | (point & 0x3f));
  }
}

}  // namespace headroom::tokenizer
