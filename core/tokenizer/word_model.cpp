// SPDX-License-Identifier: Apache-2.0
#include "tokenizer/word_model.h"

#include <array>
#include <unordered_map>

#include "tokenizer/unicode.h"

namespace headroom::tokenizer {
namespace {

constexpr std::array<char32_t, 256> make_byte_characters() {
  std::array<char32_t, 256> out{};
  char32_t next = 256;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool prints = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    out[byte] = prints ? byte : next++;
  }
  return out;
}
constexpr std::array<char32_t, 256> byte_characters = make_byte_characters();

}  // namespace

char32_t byte_character(unsigned char byte) {
  return byte_characters[byte];
}

std::string from_byte_characters(std::string_view text) {
  constexpr std::size_t last = 0x144;  // 256 + 68 bytes that do not print
  static const auto bytes = [] {
    std::array<std::int16_t, last> all{};
    all.fill(-1);
    for (std::size_t byte = 0; byte < 256; ++byte) all[byte_characters[byte]] = static_cast<std::int16_t>(byte);
    return all;
  }();
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto [point, length] = point_at(text, at);
    if (point < last && bytes[point] >= 0)
      out += static_cast<char>(bytes[point]);
    else
      out += text.substr(at, length);
    at += length;
  }
  return out;
}

std::vector<std::int32_t> byte_tokens(const TokenizerData& data) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::unordered_map<std::string_view, std::int32_t> ids;
  for (std::size_t id = 0; id < data.tokens.size(); ++id)
    if (data.tokens[id].size() == 6 && data.tokens[id].starts_with("<0x"))
      ids[data.tokens[id]] = static_cast<std::int32_t>(id);
  std::vector<std::int32_t> out(256, -1);
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const std::string text = std::string("<0x") + digits[byte >> 4] + digits[byte & 15] + ">";
    if (const auto found = ids.find(text); found != ids.end()) out[byte] = found->second;
  }
  return out;
}

}  // namespace headroom::tokenizer
