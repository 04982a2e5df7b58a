// SPDX-License-Identifier: Apache-2.0
// Levels of pyramids and the rows of their planes.
#include "record/pyramid.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"

namespace headroom::record {
namespace {

constexpr double costly_tile = 2e9;  // multiply-adds
constexpr std::int64_t most_mean_side = 8192, most_head_side = 2048, thumbnail_side = 128;
constexpr std::int64_t most_band_rows = tile_size, least_band_rows = 32, most_band_bytes = std::int64_t{32} << 20;

std::int64_t side_at(std::int64_t length, int level) {
  return (length + (std::int64_t{1} << level) - 1) >> level;
}

int level_of(std::int64_t length, double work_a_pair, std::int64_t most_side) {
  int level = 0;
  while (side_at(length, level) > most_side) ++level;
  const auto side = [&] { return std::ldexp(static_cast<double>(tile_size), level); };
  while (level < 32 && side() * side() * work_a_pair < costly_tile) ++level;
  return side_at(length, level) > thumbnail_side && level < num_levels(length) ? level : -1;
}

float rounded_mantissa(double value) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  return std::bit_cast<float>((bits + 0x8000u) & 0xffff0000u);
}

bool largest(Plane plane) {
  return plane == Plane::max || plane == Plane::m_max;
}
bool averaged(Plane plane) {
  return plane == Plane::mean || plane == Plane::m_mean;
}

}  // namespace

PyramidLevels pyramid_levels(std::int64_t length, const LayerMeta& layer) {
  const auto d = static_cast<double>(layer.head_dim), heads = static_cast<double>(layer.num_q_heads);
  return {level_of(length, d * heads, most_mean_side), level_of(length, d, most_head_side)};
}

std::int64_t pyramid_bytes(std::int64_t length, const LayerMeta& layer, std::int64_t groups) {
  const PyramidLevels levels = pyramid_levels(length, layer);
  std::int64_t bytes = 0;
  for (int i = 0; i < num_planes; ++i) {
    const auto plane = static_cast<Plane>(i);
    const int first = first_level(plane, levels, groups);
    if (first < 0) continue;
    const std::int64_t count = is_count(plane) ? groups : of_head_mean(plane) ? 1 : layer.num_q_heads;
    for (int level = first; level < num_levels(length); ++level)
      bytes += count * side_at(length, level) * side_at(length, level) * 4;
  }
  return bytes;
}

int first_level(Plane plane, PyramidLevels levels, std::int64_t groups) {
  const bool shared = groups == 1;
  switch (plane) {
    case Plane::max:
    case Plane::mean:
      return levels.heads;
    case Plane::m_max:
    case Plane::m_mean:
      return levels.mean;
    case Plane::missed_mass:
      return groups > 0 ? levels.heads : -1;
    case Plane::m_missed_mass:  // of several supports the head mean has none
      return shared ? levels.mean : -1;
    default:
      return groups == 0 ? -1 : shared && levels.mean >= 0 ? levels.mean : levels.heads;
  }
}

const char* plane_name(Plane plane) {
  constexpr const char* names[num_planes] = {"max",           "mean", "missed_mass", "m_max",  "m_mean",
                                             "m_missed_mass", "hit",  "missed",      "wasted", "selected"};
  return names[static_cast<int>(plane)];
}

PyramidRows::PyramidRows(Plane plane, std::int64_t planes, std::int64_t length, int first_level, WriteFloats floats,
                         WriteCounts counts)
    : plane_(plane), length_(length), write_floats_(std::move(floats)), write_counts_(std::move(counts)) {
  if (first_level < 0 || first_level >= num_levels(length))
    throw Error(ErrorKind::internal, "a pyramid has no such level");
  for (int level = first_level; level < num_levels(length); ++level) {
    Level one;
    one.level = level;
    const std::int64_t side = side_at(length, level);
    std::int64_t band = most_band_rows;
    while (band > least_band_rows && planes * band * side * 4 > most_band_bytes) band /= 2;
    one.dataset = {std::to_string(level) + "/" + plane_name(plane), plane, planes, side, std::min(band, side)};
    one.next.assign(static_cast<std::size_t>(planes), 0);
    one.before.resize(static_cast<std::size_t>(planes));
    const auto cells = static_cast<std::size_t>(planes * one.dataset.band * side);
    if (is_count(plane))
      one.counts.assign(cells, 0);
    else
      one.floats.assign(cells, 0);
    levels_.push_back(std::move(one));
  }
}

std::vector<PyramidRows::Dataset> PyramidRows::datasets() const {
  std::vector<Dataset> all;
  for (const Level& level : levels_) all.push_back(level.dataset);
  return all;
}

void PyramidRows::add(std::int64_t index, std::span<const double> cells) {
  std::vector<double> row(cells.begin(), cells.end());
  row.resize(static_cast<std::size_t>(levels_.front().dataset.side), 0.0);
  add_to(0, index, std::move(row));
}

void PyramidRows::add_to(std::size_t number, std::int64_t index, std::vector<double> cells) {
  Level& level = levels_[number];
  const Dataset& set = level.dataset;
  const auto at = static_cast<std::size_t>(index);
  const std::int64_t row = level.next[at]++;
  if (row >= set.side) throw Error(ErrorKind::internal, "a pyramid was given too many rows");
  const std::int64_t place = (index * set.band + row % set.band) * set.side, cell = std::int64_t{1} << level.level;
  if (is_count(plane_)) {
    std::transform(cells.begin(), cells.end(), level.counts.begin() + place,
                   [](double count) { return static_cast<std::int32_t>(count); });
  } else {
    const std::int64_t begin = row * cell, end = std::min(begin + cell, length_);
    const auto below = static_cast<double>((end - begin) * cell);  // pairs of a cell below the diagonal
    for (std::int64_t column = 0; column < set.side; ++column) {
      double value = cells[static_cast<std::size_t>(column)];
      if (averaged(plane_) && value > 0) {
        const std::int64_t key_end = std::min((column + 1) * cell, length_);
        value /= column < row ? below
                              : static_cast<double>(std::max<std::int64_t>(
                                    1, visible_pairs(begin, end, column * cell, key_end)));
      }
      level.floats[static_cast<std::size_t>(place + column)] = rounded_mantissa(value);
    }
  }
  if ((row + 1) % set.band == 0 || row + 1 == set.side) flush(level, index, row % set.band + 1);
  if (number + 1 == levels_.size()) return;
  std::vector<double>& before = level.before[at];
  if (row % 2 == 0 && row + 1 < set.side) {
    before = std::move(cells);
    return;
  }
  if (row % 2 == 0) before.assign(cells.size(), 0.0);  // the last row has no neighbour
  std::vector<double> coarse(static_cast<std::size_t>(levels_[number + 1].dataset.side), 0.0);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    double& to = coarse[i / 2];
    if (largest(plane_))
      to = std::max({to, cells[i], before[i]});
    else
      to += cells[i] + before[i];
  }
  before.clear();
  before.shrink_to_fit();
  add_to(number + 1, index, std::move(coarse));
}

void PyramidRows::flush(Level& level, std::int64_t index, std::int64_t rows) {
  const Dataset& set = level.dataset;
  const std::int64_t row = (level.next[static_cast<std::size_t>(index)] - 1) / set.band * set.band;
  const std::int64_t place = index * set.band * set.side;
  if (is_count(plane_))
    write_counts_(set, index, row, rows, level.counts.data() + place);
  else
    write_floats_(set, index, row, rows, level.floats.data() + place);
}

void PyramidRows::finish() {
  for (Level& level : levels_)
    for (const std::int64_t next : level.next)
      if (next != level.dataset.side) throw Error(ErrorKind::internal, "a pyramid was given too few rows");
}

}  // namespace headroom::record
