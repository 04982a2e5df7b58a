// SPDX-License-Identifier: GPL-3.0-or-later
// Codes and colour tables of attention maps.
#include "views/map/map_colours.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "views/common/theme.h"

namespace headroom::views {
namespace {
constexpr std::size_t table_size = std::size_t{1} << 17;
constexpr double difference_codes = 32766;
}  // namespace

std::uint16_t mass_code(float p) {
  if (std::isnan(p)) return 0;
  if (!(p > 1e-16f)) return 1;
  const float code = 2.0f + (std::log10(p) + static_cast<float>(code_decades)) * static_cast<float>(codes_per_decade);
  return static_cast<std::uint16_t>(std::clamp(code + 0.5f, 2.0f, 65535.0f));
}

void mass_codes(std::span<const float> values, std::vector<std::uint16_t>& codes) {
  // Stored tiles have 8 bits of mantissa: the upper half of a float says all, and a logarithm for each cell is what a
  // tile from the record would otherwise take longest for.
  static const std::vector<std::uint16_t> of_upper_half = [] {
    std::vector<std::uint16_t> table(std::size_t{1} << 16);
    for (std::uint32_t half = 0; half < table.size(); ++half)
      table[half] = mass_code(std::bit_cast<float>(half << 16));
    return table;
  }();
  codes.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(values[i]);
    codes[i] = (bits & 0xffffu) == 0 ? of_upper_half[bits >> 16] : mass_code(values[i]);
  }
}

std::uint16_t difference_code(float baseline, float candidate) {
  if (std::isnan(baseline) || std::isnan(candidate)) return 0;
  const double d = static_cast<double>(candidate) - static_cast<double>(baseline);
  if (std::abs(d) <= 1e-16) return 32768;
  const double size = std::clamp((std::log10(std::abs(d)) + code_decades) / code_decades, 0.0, 1.0) * difference_codes;
  return static_cast<std::uint16_t>(32768 + (d > 0 ? 1 : -1) * static_cast<int>(std::lround(size)));
}

double scale_position(double value, double colour_min, double colour_max) {
  if (!(value > 0) || !(colour_max > colour_min) || !(colour_min > 0)) return 0;
  return std::clamp(std::log10(value / colour_min) / std::log10(colour_max / colour_min), 0.0, 1.0);
}

std::vector<QRgb> mass_table(double colour_min, double colour_max) {
  const auto& stops = cividis();
  std::vector<QRgb> table(table_size, stops.front());
  table[0] = 0;
  const double low = std::log10(colour_min), span = std::max(1e-9, std::log10(colour_max) - low);
  for (std::size_t code = 2; code < table_size; ++code) {
    const double value = static_cast<double>(code - 2) / codes_per_decade - code_decades;
    table[code] = stops[static_cast<int>(std::lround(std::clamp((value - low) / span, 0.0, 1.0) * 255))];
  }
  return table;
}

std::vector<QRgb> difference_table(double colour_min, double colour_max) {
  const auto& stops = blue_red();
  std::vector<QRgb> table(65536, 0);
  const double low = std::log10(colour_min), span = std::max(1e-9, std::log10(colour_max) - low);
  for (int code = 1; code < 65536; ++code) {
    const int offset = code - 32768;
    double position = 0.5;
    if (offset != 0) {
      const double value = std::abs(offset) / difference_codes * code_decades - code_decades;
      position += (offset > 0 ? 0.5 : -0.5) * std::clamp((value - low) / span, 0.0, 1.0);
    }
    table[static_cast<std::size_t>(code)] = stops[static_cast<int>(std::lround(position * 255))];
  }
  return table;
}

}  // namespace headroom::views
