// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/unicode.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

#include <array>

#include "base/error.h"
#include "base/utf8.h"

namespace headroom::tokenizer {
namespace {

constexpr std::size_t num_code_points = 0x110000;

/// General categories by code point: one byte each, asked for once.
const std::vector<std::uint8_t>& category_table() {
  static const std::vector<std::uint8_t> table = [] {
    std::vector<std::uint8_t> all(num_code_points);
    for (std::size_t point = 0; point < num_code_points; ++point)
      all[point] = static_cast<std::uint8_t>(u_charType(static_cast<UChar32>(point)));
    return all;
  }();
  return table;
}

std::uint32_t category_bit(char32_t point) {
  return point < num_code_points ? 1u << category_table()[point] : 0;
}

constexpr std::array<CodePointClass, U_CHAR_CATEGORY_COUNT> class_by_category() {
  std::array<CodePointClass, U_CHAR_CATEGORY_COUNT> all{};
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::uint32_t bit = 1u << i;
    all[i] = (bit & U_GC_L_MASK) != 0   ? CodePointClass::letter
             : (bit & U_GC_M_MASK) != 0 ? CodePointClass::mark
             : (bit & U_GC_N_MASK) != 0 ? CodePointClass::number
             : (bit & U_GC_P_MASK) != 0 ? CodePointClass::punctuation
             : (bit & U_GC_S_MASK) != 0 ? CodePointClass::symbol
             : (bit & U_GC_Z_MASK) != 0 ? CodePointClass::separator
                                        : CodePointClass::other;
  }
  return all;
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

[[noreturn]] void refuse_utf8(std::string_view text, std::size_t at, std::string_view place, std::int64_t first_byte) {
  constexpr std::string_view digits = "0123456789abcdef";
  const auto bad = static_cast<unsigned char>(text[at]);
  throw input_error(std::string(place), "the text is not valid UTF-8", "UTF-8",
                    std::string("byte 0x") + digits[bad >> 4] + digits[bad & 15] + " at byte offset " +
                        std::to_string(first_byte + static_cast<std::int64_t>(at)));
}

const UNormalizer2* normaliser_of(NormalForm form) {
  UErrorCode failed = U_ZERO_ERROR;
  const UNormalizer2* found = nullptr;
  switch (form) {
    case NormalForm::nfc:
      found = unorm2_getNFCInstance(&failed);
      break;
    case NormalForm::nfd:
      found = unorm2_getNFDInstance(&failed);
      break;
    case NormalForm::nfkc:
      found = unorm2_getNFKCInstance(&failed);
      break;
    case NormalForm::nfkd:
      found = unorm2_getNFKDInstance(&failed);
      break;
  }
  if (found == nullptr || U_FAILURE(failed))
    throw device_error(std::string("ICU cannot load its tables of normal forms: ") + u_errorName(failed));
  return found;
}

}  // namespace

CodePointClass class_of(char32_t point) {
  static constexpr auto classes = class_by_category();
  return point < num_code_points ? classes[category_table()[point]] : CodePointClass::other;
}

bool is_upper_side(char32_t point) {
  return (category_bit(point) & (U_GC_LU_MASK | U_GC_LT_MASK | U_GC_LM_MASK | U_GC_LO_MASK | U_GC_M_MASK)) != 0;
}

bool is_lower_side(char32_t point) {
  return (category_bit(point) & (U_GC_LL_MASK | U_GC_LM_MASK | U_GC_LO_MASK | U_GC_M_MASK)) != 0;
}

bool is_white_space(char32_t point) {
  if (point < 0x80) return point == ' ' || (point >= 9 && point <= 13);
  if (point < 0x1680) return point == 0x85 || point == 0xa0;
  return point == 0x1680 || (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 ||
         point == 0x202f || point == 0x205f || point == 0x3000;
}

bool is_word_character(char32_t point) {
  const auto value = static_cast<UChar32>(point);
  return (category_bit(point) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
         u_hasBinaryProperty(value, UCHAR_ALPHABETIC) || u_hasBinaryProperty(value, UCHAR_JOIN_CONTROL);
}

void append_lower_case(std::string& out, char32_t point) {
  append_utf8(out, point == 0x130 ? U'i' : static_cast<char32_t>(u_tolower(static_cast<UChar32>(point))));
  if (point == 0x130) append_utf8(out, 0x307);  // the one letter that becomes two
}

CodePoints decode_utf8(std::string_view text, std::string_view place, std::int64_t first_byte) {
  CodePoints out;
  out.points.reserve(text.size());
  out.offsets.reserve(text.size() + 1);
  for (std::size_t at = 0; at < text.size();) {
    char32_t point = 0;
    const std::size_t length = decode_one(text, at, point);
    if (length == 0) refuse_utf8(text, at, place, first_byte);
    out.points.push_back(point);
    out.offsets.push_back(static_cast<std::int64_t>(at));
    at += length;
  }
  out.offsets.push_back(static_cast<std::int64_t>(text.size()));
  return out;
}

void check_utf8(std::string_view text, std::string_view place) {
  if (const auto bad = first_invalid_utf8(text)) refuse_utf8(text, *bad, place, 0);
}

std::pair<char32_t, std::size_t> point_at(std::string_view text, std::size_t at) {
  char32_t point = 0;
  const std::size_t length = decode_one(text, at, point);
  return length != 0 ? std::pair{point, length} : std::pair{char32_t{0xfffd}, std::size_t{1}};
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

std::size_t normal_piece_end(NormalForm form, std::string_view text, std::size_t at) {
  const UNormalizer2* const normaliser = normaliser_of(form);
  std::size_t end = at + point_at(text, at).second;
  while (end < text.size()) {
    const auto [point, length] = point_at(text, end);
    if (point < 0x80 || unorm2_hasBoundaryBefore(normaliser, static_cast<UChar32>(point))) break;
    end += length;
  }
  return end;
}

std::string normalise(NormalForm form, std::string_view text) {
  const auto fail = [](UErrorCode code) {
    throw device_error(std::string("ICU cannot normalise a text: ") + u_errorName(code));
  };
  UErrorCode failed = U_ZERO_ERROR;
  std::u16string wide(text.size(), u'\0');  // never more units than bytes
  std::int32_t units = 0;
  u_strFromUTF8(wide.data(), static_cast<std::int32_t>(wide.size()), &units, text.data(),
                static_cast<std::int32_t>(text.size()), &failed);
  if (U_FAILURE(failed)) fail(failed);
  std::u16string normal(static_cast<std::size_t>(units) * 3 + 16, u'\0');
  std::int32_t length = 0;
  for (int round = 0; round < 2; ++round) {
    failed = U_ZERO_ERROR;
    length = unorm2_normalize(normaliser_of(form), wide.data(), units, normal.data(),
                              static_cast<std::int32_t>(normal.size()), &failed);
    if (failed != U_BUFFER_OVERFLOW_ERROR) break;
    normal.resize(static_cast<std::size_t>(length));
  }
  if (U_FAILURE(failed)) fail(failed);
  std::string out(static_cast<std::size_t>(length) * 3, '\0');
  std::int32_t bytes = 0;
  failed = U_ZERO_ERROR;
  u_strToUTF8(out.data(), static_cast<std::int32_t>(out.size()), &bytes, normal.data(), length, &failed);
  if (U_FAILURE(failed)) fail(failed);
  out.resize(static_cast<std::size_t>(bytes));
  return out;
}

}  // namespace headroom::tokenizer
