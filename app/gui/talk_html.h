// SPDX-License-Identifier: GPL-3.0-or-later
// A talk as one HTML file that fetches nothing: maps to zoom and hover over, the budget slider, pictures of the rest.
#pragma once

#include <QByteArray>
#include <QString>
#include <cstdint>
#include <string>
#include <vector>

#include "gui/talk_export.h"
#include "views/map/map_data.h"

namespace headroom::gui {

/// A part of a map in the file: cells of `cell` x `cell` tokens from (query, key) on, at most html_grid_cells a side.
/// Row by row those that begin at or before the row's last query; a value is a code of code_of(), a mark the sum of
/// html_hit, html_missed (where the cell misses at least so much mass as the step asks for) and html_wasted.
struct HtmlGrid {
  std::int64_t query = 0, key = 0, cell = 1, rows = 0, columns = 0;
  std::vector<std::uint16_t> max, mean;
  std::vector<std::uint8_t> marks = {};  ///< empty: there are none, or they would have to be read from a long record
};
inline constexpr std::uint8_t html_hit = 1, html_missed = 2, html_wasted = 4;
inline constexpr std::int64_t html_grid_cells = 512;
inline constexpr std::size_t most_html_bytes = 64u << 20;

/// 0: nothing, not kept, or below 1e-12; else 1 … 65535, logarithmic up to 1: within 0.03 % of p.
std::uint16_t code_of(float probability);
double probability_of(std::uint16_t code);
/// What of the map goes into the file: the part that the step shows as fine as the limit allows, and the whole. Empty
/// where the record holds neither stream nor thumbnail. `missed_from`: the missed mass from which a cell is marked.
std::vector<HtmlGrid> html_grids(const views::MapData& map, const views::Viewport& viewport, double missed_from,
                                 const std::function<bool()>& given_up);

/// `note` gets what the file does not hold. Throws input errors: a step that does not fit, a file above 64 MiB.
QByteArray html_of(const TalkExport& job, QString& note);

}  // namespace headroom::gui
