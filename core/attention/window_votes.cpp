// SPDX-License-Identifier: Apache-2.0
#include "attention/window_votes.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <numeric>

#include "attention/parallel.h"

namespace headroom::attention {
namespace {

constexpr std::int64_t vote_pairs_at_once = std::int64_t{1} << 24;  ///< over all heads

/// Places in the order in which they are taken; NaN last.
std::vector<std::int32_t> ranked_places(const std::vector<double>& votes, std::int64_t forced) {
  std::vector<std::int32_t> order(votes.size());
  std::iota(order.begin(), order.end(), 0);
  const auto first = order.begin() + std::min<std::int64_t>(forced, std::ssize(order));
  std::stable_sort(first, order.end(), [&](std::int32_t a, std::int32_t b) {
    const double x = votes[static_cast<std::size_t>(a)], y = votes[static_cast<std::size_t>(b)];
    return x > y || (y != y && x == x);
  });
  return order;
}

}  // namespace

WindowVotes count_votes(const PreparedLayer& layer, std::int64_t window, bool distances, const JobContext& job) {
  const std::int64_t length = layer.query().length(), heads = layer.query().num_q_heads();
  WindowVotes votes;
  votes.rows = std::min(window, length);
  votes.of_key.assign(static_cast<std::size_t>(heads), std::vector<double>(static_cast<std::size_t>(length)));
  if (distances) votes.of_distance = votes.of_key;
  const std::int64_t first = length - votes.rows;
  const auto mass = layer.mass(SupportScope::q_head, first, job);
  const std::int64_t at_once = std::clamp<std::int64_t>(vote_pairs_at_once / heads / length, 1, votes.rows);
  for (std::int64_t begin = first; begin < length; begin += at_once) {
    job.check();
    const std::int64_t end = std::min(begin + at_once, length);
    const at::Tensor p = mass->scores(begin, end).to(at::kCPU).contiguous();
    const auto* values = p.const_data_ptr<float>();
    parallel_tasks(job)(heads, [&](std::int64_t head) {
      auto& keys = votes.of_key[static_cast<std::size_t>(head)];
      for (std::int64_t row = begin; row < end; ++row) {
        const float* of_row = values + (head * (end - begin) + row - begin) * end;
        for (std::int64_t key = 0; key <= row; ++key)
          keys[static_cast<std::size_t>(key)] += static_cast<double>(of_row[key]);
        if (!distances) continue;
        auto& back = votes.of_distance[static_cast<std::size_t>(head)];
        for (std::int64_t key = 0; key <= row; ++key)
          back[static_cast<std::size_t>(row - key)] += static_cast<double>(of_row[key]);
      }
    });
  }
  return votes;
}

std::vector<std::int32_t> best_places(const std::vector<double>& votes, std::int64_t wanted, std::int64_t forced) {
  std::vector<std::int32_t> places = ranked_places(votes, forced);
  places.resize(static_cast<std::size_t>(std::clamp<std::int64_t>(wanted, 0, std::ssize(places))));
  std::sort(places.begin(), places.end());
  return places;
}

std::vector<std::int32_t> places_of_share(const std::vector<double>& votes, double share, std::int64_t forced) {
  std::vector<std::int32_t> places = ranked_places(votes, forced);
  // As for mass budgets: the slack is above the rounding of the two sums.
  const double needed = share * std::accumulate(votes.begin(), votes.end(), 0.0) * (1 - 1e-12);
  double sum = 0;
  std::int64_t taken = 0;
  for (; taken < std::ssize(places) && (taken < forced || sum < needed); ++taken)
    sum += votes[static_cast<std::size_t>(places[static_cast<std::size_t>(taken)])];
  places.resize(static_cast<std::size_t>(taken));
  std::sort(places.begin(), places.end());
  return places;
}

std::int64_t KeyLines::write(std::int64_t row, std::int32_t* to) const {
  // Both ascend in the key: columns as they are, diagonals from the farthest.
  const auto seen = std::upper_bound(distances.begin(), distances.end(), static_cast<std::int32_t>(row));
  auto column = keys.begin();
  auto diagonal = std::make_reverse_iterator(seen);
  std::int32_t* out = to;
  while (diagonal != distances.rend()) {
    const std::int32_t key = static_cast<std::int32_t>(row) - *diagonal;
    while (column != keys.end() && *column < key) *out++ = *column++;
    if (column != keys.end() && *column == key) ++column;
    *out++ = key;
    ++diagonal;
  }
  while (column != keys.end() && *column <= row) *out++ = *column++;
  return out - to;
}

}  // namespace headroom::attention
