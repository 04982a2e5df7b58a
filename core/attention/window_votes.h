// SPDX-License-Identifier: Apache-2.0
// What the last rows of a prompt attend to, for methods that choose every row's keys by it; and supports that are
// lines: whole columns (keys) and whole diagonals (distances).
#pragma once

#include <cstdint>
#include <vector>

#include "attention/backend.h"
#include "attention/policy.h"

namespace headroom::attention {

/// Attention probabilities of the last rows, summed, for each query head.
struct WindowVotes {
  std::int64_t rows = 0;                         ///< of the window
  std::vector<std::vector<double>> of_key;       ///< [Hq][L]: by position
  std::vector<std::vector<double>> of_distance;  ///< [Hq][L]: by how far back the key lies; empty unless asked for
};
/// Of the last min(window, L) rows.
WindowVotes count_votes(const PreparedLayer& layer, std::int64_t window, bool distances, const JobContext& job);

/// The best `wanted` of a head's votes, 0 … forced - 1 first, ties to the lower place; ascending.
std::vector<std::int32_t> best_places(const std::vector<double>& votes, std::int64_t wanted, std::int64_t forced);
/// The fewest of them that hold `share` of all votes, the forced ones among them.
std::vector<std::int32_t> places_of_share(const std::vector<double>& votes, double share, std::int64_t forced);

/// One head's lines, ascending. Distance 0, a row's own key, is one of them.
struct KeyLines {
  std::vector<std::int32_t> keys, distances;
  std::int64_t most() const { return static_cast<std::int64_t>(keys.size() + distances.size()); }
  /// What the row sees of the lines, ascending, each key once. Returns their number.
  std::int64_t write(std::int64_t row, std::int32_t* to) const;
};

}  // namespace headroom::attention
