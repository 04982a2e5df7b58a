// SPDX-License-Identifier: GPL-3.0-or-later
// Probabilities as 16-bit codes on a logarithmic scale, and the tables that turn codes into colours: changing the
// colour range changes a table, never the tiles.
#pragma once

#include <QColor>
#include <QString>
#include <cstdint>
#include <span>
#include <vector>

#include "views/common/display_state.h"

namespace headroom::views {

inline constexpr double code_decades = 16;  ///< codes span 1e-16 … 1
inline constexpr double codes_per_decade = 65533 / code_decades;

/// 0 = nothing there (NaN), 1 = zero or below 1e-16, then evenly in log10 up to 65535 = 1.
std::uint16_t mass_code(float p);
/// mass_code() of each, into `codes`, which takes their size.
void mass_codes(std::span<const float> values, std::vector<std::uint16_t>& codes);
/// Signed: 0 = nothing there, 32768 = no difference, else sign and log10 of the size.
std::uint16_t difference_code(float baseline, float candidate);

/// Colours by code, with room above 65535 for lift (code + log10(t + 1) in code units). The entry for "nothing there"
/// is transparent.
std::vector<QRgb> mass_table(double colour_min, double colour_max);
/// Symmetric: blue where the baseline is larger, red where the candidate is.
std::vector<QRgb> difference_table(double colour_min, double colour_max);
/// Position 0 … 1 of a value on the logarithmic scale.
double scale_position(double value, double colour_min, double colour_max);

}  // namespace headroom::views
