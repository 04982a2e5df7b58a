// SPDX-License-Identifier: Apache-2.0
#include "protocol/base64.h"

#include <array>
#include <bit>
#include <cstring>

#include "base/error.h"

namespace headroom::protocol {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are sent as they lie in memory");

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int8_t, 256> make_values() {
  std::array<std::int8_t, 256> values{};
  values.fill(-1);
  for (std::size_t i = 0; i < alphabet.size(); ++i)
    values[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
  return values;
}
constexpr auto values_of = make_values();

template <typename T>
std::string encode(std::span<const T> values) {
  return base64_encode({reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()});
}

template <typename T>
std::vector<T> decode(std::string_view text, std::size_t count, const std::string& place) {
  // The size is checked on the text, before anything is allocated.
  if (text.size() != (count * sizeof(T) + 2) / 3 * 4)
    throw input_error(place, "has another size", std::to_string(count) + " numbers",
                      std::to_string(text.size() / 4 * 3 / sizeof(T)));
  const auto bytes = base64_decode(text, place);
  if (bytes.size() != count * sizeof(T))
    throw input_error(place, "has another size", std::to_string(count * sizeof(T)) + " bytes",
                      std::to_string(bytes.size()));
  std::vector<T> values(count);
  if (count > 0) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace

std::string base64_encode(std::span<const std::uint8_t> bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t rest = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t word = 0;
    for (std::size_t j = 0; j < 3; ++j) word = word << 8 | (j < rest ? bytes[i + j] : 0u);
    for (std::size_t j = 0; j < 4; ++j) text += j <= rest ? alphabet[word >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

std::vector<std::uint8_t> base64_decode(std::string_view text, const std::string& place) {
  if (text.size() % 4 != 0)
    throw input_error(place, "is not base64", "a multiple of 4 characters", std::to_string(text.size()));
  std::vector<std::uint8_t> bytes;
  bytes.reserve(text.size() / 4 * 3);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const bool last = i + 4 == text.size();
    const int padding = last ? (text[i + 3] == '=') + (text[i + 2] == '=' && text[i + 3] == '=') : 0;
    std::uint32_t word = 0;
    for (int j = 0; j < 4; ++j) {
      const int value =
          j >= 4 - padding ? 0 : values_of[static_cast<unsigned char>(text[i + static_cast<std::size_t>(j)])];
      if (value < 0)
        throw input_error(place, "is not base64", "letters, digits, + and /", "another byte at " + std::to_string(i));
      word = word << 6 | static_cast<std::uint32_t>(value);
    }
    for (int j = 0; j < 3 - padding; ++j) bytes.push_back(static_cast<std::uint8_t>(word >> (16 - 8 * j)));
  }
  return bytes;
}

std::string encode_floats(std::span<const float> values) {
  return encode(values);
}
std::string encode_counts(std::span<const std::uint32_t> values) {
  return encode(values);
}
std::vector<float> decode_floats(std::string_view text, std::size_t count, const std::string& place) {
  return decode<float>(text, count, place);
}
std::vector<std::uint32_t> decode_counts(std::string_view text, std::size_t count, const std::string& place) {
  return decode<std::uint32_t>(text, count, place);
}

}  // namespace headroom::protocol
