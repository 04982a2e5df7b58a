// SPDX-License-Identifier: Apache-2.0
// What pre-tokenizers need of Unicode: validated decoding, general categories, white space.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace headroom::tokenizer {

/// First letter of the general category; "other" holds control, format, surrogate, private-use and unassigned ones.
enum class CodePointClass : std::uint8_t { other, letter, mark, number, punctuation, symbol, separator };

/// Code points from `begin` up to the next run are of one class.
struct CodePointRun {
  std::uint32_t begin;
  CodePointClass kind;
};
std::span<const CodePointRun> code_point_runs();

CodePointClass class_of(char32_t point);
/// The property White_Space (`\s` of the patterns).
bool is_white_space(char32_t point);

/// A text as code points, each with its first byte; offsets has one more entry, the text's size.
struct CodePoints {
  std::vector<char32_t> points;
  std::vector<std::int64_t> offsets;
};
/// Throws an input error that names the byte offset where `text` stops being UTF-8 (overlong forms, surrogates and
/// values above 10FFFF are refused). `first_byte` is added to the offset in the message.
CodePoints decode_utf8(std::string_view text, std::string_view place, std::int64_t first_byte = 0);
void append_utf8(std::string& out, char32_t point);

}  // namespace headroom::tokenizer
