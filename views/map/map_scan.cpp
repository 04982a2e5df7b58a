// SPDX-License-Identifier: GPL-3.0-or-later
#include "views/map/map_scan.h"

#include <algorithm>
#include <cmath>

namespace headroom::views {
namespace {

constexpr int samples_a_side = 160;
/// What it takes to find one probability, as if it were bytes of bitmaps.
constexpr std::size_t bytes_a_probability = 4096;

/// The value of the finest of `grids` that holds the pair; NaN where none does.
double value_in(const std::vector<GridPtr>& grids, MapPoint point, bool mean) {
  for (const GridPtr& grid : grids) {
    if (point.query < grid->row_begin || point.key < grid->column_begin) continue;
    const std::int64_t row = (point.query - grid->row_begin) / grid->cell,
                       column = (point.key - grid->column_begin) / grid->cell;
    if (row >= grid->rows || column >= grid->columns) continue;
    const auto i = static_cast<std::size_t>(row * grid->columns + column);
    return static_cast<double>(mean ? grid->mean[i] : grid->max[i]);
  }
  return std::nan("");
}

}  // namespace

std::optional<ValueRange> fitting_range(const std::vector<GridPtr>& grids, const Viewport& view, bool mean, bool lift,
                                        const std::stop_token& stop) {
  std::vector<GridPtr> finest = grids;
  std::erase(finest, nullptr);
  std::sort(finest.begin(), finest.end(), [](const GridPtr& a, const GridPtr& b) { return a->cell < b->cell; });
  std::vector<double> values;
  const double rows = (view.query_end - view.query_begin) / samples_a_side,
               keys = (view.key_end - view.key_begin) / samples_a_side;
  for (int i = 0; i < samples_a_side; ++i) {
    if (stop.stop_requested()) return std::nullopt;
    for (int j = 0; j < samples_a_side; ++j) {
      const MapPoint point{static_cast<std::int64_t>(view.query_begin + (i + 0.5) * rows),
                           static_cast<std::int64_t>(view.key_begin + (j + 0.5) * keys)};
      if (point.key < 0 || point.key > point.query) continue;
      const double p = value_in(finest, point, mean);
      if (p > 1e-12) values.push_back(lift ? p * static_cast<double>(point.query + 1) : p);
    }
  }
  if (values.size() < 16) return std::nullopt;
  std::sort(values.begin(), values.end());
  const double low = values[values.size() / 20];
  return ValueRange{low, std::max(values[values.size() - 1 - values.size() / 500], low * 10)};
}

MissedSearch find_missed(const MapData& data, MapPoint from, double least, std::size_t max_bytes,
                         const std::stop_token& stop) {
  MissedSearch result;
  std::size_t bytes = 0;
  const auto weighs = [&](std::int64_t query, std::int64_t key) {
    if (!data.stream || query < data.stream->query_begin) return true;
    bytes += bytes_a_probability;
    return static_cast<double>(record::probability(*data.stream, data.source.head, query, key)) >= least;
  };
  std::int64_t key = from.key;
  for (std::int64_t query = std::max<std::int64_t>(0, from.query); query < data.length; ++query, key = -1) {
    const auto target = data.target->row(query), support = data.support->row(query);
    for (++key; key <= query; ++key) {
      const auto byte = static_cast<std::size_t>(key >> 3);
      const auto bits = static_cast<std::uint8_t>(target[byte] & ~support[byte]);
      if (!bits) {
        key |= 7;  // none among these eight
        continue;
      }
      if (stop.stop_requested()) return result;
      if (bits >> (key & 7) & 1 && weighs(query, key)) {
        result.found = {query, key};
        return result;
      }
    }
    bytes += static_cast<std::size_t>(query >> 3) + 1;
    result.next = {query + 1, -1};
    if (bytes >= max_bytes || stop.stop_requested()) return result;
  }
  result.finished = true;
  return result;
}

}  // namespace headroom::views
