// SPDX-License-Identifier: Apache-2.0
// What tokenizers need of Unicode: validated decoding, general categories, white space, normal forms. The tables are
// ICU's, of the version that Debian has (ICU 72: Unicode 15.0); the references are of other versions (Rust's standard
// library, Oniguruma, llama.cpp: 12 to 16), which differ on characters that were assigned between them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace headroom::tokenizer {

/// First letter of the general category; "other" holds control, format, surrogate, private-use and unassigned ones.
enum class CodePointClass : std::uint8_t { other, letter, mark, number, punctuation, symbol, separator };

CodePointClass class_of(char32_t point);
/// [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and [\p{Ll}\p{Lm}\p{Lo}\p{M}]: letters that may begin or go on with a word that is
/// cut where its case rises.
bool is_upper_side(char32_t point);
bool is_lower_side(char32_t point);
/// The property White_Space (`\s` of the patterns).
bool is_white_space(char32_t point);
/// `\w`: alphabetic, marks, decimal digits, connectors, joiners.
bool is_word_character(char32_t point);
/// Without the conditions of languages and of neighbours; appends.
void append_lower_case(std::string& out, char32_t point);

/// A text as code points, each with its first byte; offsets has one more entry, the text's size.
struct CodePoints {
  std::vector<char32_t> points;
  std::vector<std::int64_t> offsets;
};
/// Throws an input error that names the byte offset where `text` stops being UTF-8 (overlong forms, surrogates and
/// values above 10FFFF are refused). `first_byte` is added to the offset in the message.
CodePoints decode_utf8(std::string_view text, std::string_view place, std::int64_t first_byte = 0);
/// The same refusal, without the code points.
void check_utf8(std::string_view text, std::string_view place);
void append_utf8(std::string& out, char32_t point);
/// The code point at `at` and its bytes, of text that is known to be UTF-8.
std::pair<char32_t, std::size_t> point_at(std::string_view text, std::size_t at);

enum class NormalForm { nfc, nfd, nfkc, nfkd };
/// The end of the shortest piece from `at` on that is normalised by itself.
std::size_t normal_piece_end(NormalForm form, std::string_view text, std::size_t at);
std::string normalise(NormalForm form, std::string_view text);

}  // namespace headroom::tokenizer
