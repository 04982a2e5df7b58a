// SPDX-License-Identifier: Apache-2.0
// The training-free methods as plain fp64 loops over their definitions (docs/methods.md), each a few lines.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "layer_inputs.h"

namespace headroom::attention::testing {

/// Scores a row for one head group: [L][row + 1].
using Rows = std::vector<std::vector<double>>;

struct SlowMethods {
  explicit SlowMethods(const LayerQuery& query) : in(reference::inputs_of(query)) {}
  reference::Inputs in;

  std::int64_t per_kv() const { return in.num_q_heads / in.num_kv_heads; }
  double q(std::int64_t head, std::int64_t row, std::int64_t i) const {
    return row < in.length ? in.q[static_cast<std::size_t>((head * in.length + row) * in.head_dim + i)] : 0;
  }
  double k(std::int64_t head, std::int64_t key, std::int64_t i) const {
    return key < in.length ? in.k[static_cast<std::size_t>((head / per_kv() * in.length + key) * in.head_dim + i)] : 0;
  }
  double v(std::int64_t head, std::int64_t key, std::int64_t i) const {
    return in.v[static_cast<std::size_t>((head / per_kv() * in.length + key) * in.head_dim + i)];
  }
  double dot(std::int64_t head, std::int64_t row, std::int64_t key) const {
    double sum = 0;
    for (std::int64_t i = 0; i < in.head_dim; ++i) sum += q(head, row, i) * k(head, key, i);
    return in.scale * sum;
  }

  /// From a score of (head, row): its row + 1 values.
  using Score = std::function<std::vector<double>(std::int64_t head, std::int64_t row)>;
  std::vector<Rows> of_heads(const Score& score) const {
    std::vector<Rows> heads(static_cast<std::size_t>(in.num_q_heads));
    for (std::int64_t head = 0; head < in.num_q_heads; ++head)
      for (std::int64_t row = 0; row < in.length; ++row)
        heads[static_cast<std::size_t>(head)].push_back(score(head, row));
    return heads;
  }
  static std::vector<Rows> mean_of(std::vector<Rows> heads) {
    for (std::size_t head = 1; head < heads.size(); ++head)
      for (std::size_t row = 0; row < heads[0].size(); ++row)
        for (std::size_t key = 0; key < heads[0][row].size(); ++key) heads[0][row][key] += heads[head][row][key];
    for (auto& row : heads[0])
      for (double& value : row) value /= static_cast<double>(heads.size());
    heads.resize(1);
    return heads;
  }
  static std::vector<double> softmax(std::vector<double> logits) {
    const double largest = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (double& value : logits) sum += value = std::exp(value - largest);
    for (double& value : logits) value /= sum;
    return logits;
  }

  std::vector<Rows> probabilities() const {
    return of_heads([&](std::int64_t head, std::int64_t row) { return reference::probabilities(in, head, row); });
  }
  std::vector<Rows> value_mass() const {
    return mean_of(of_heads([&](std::int64_t head, std::int64_t row) {
      std::vector<double> p = reference::probabilities(in, head, row);
      for (std::int64_t key = 0; key <= row; ++key) {
        double square = 0;
        for (std::int64_t i = 0; i < in.head_dim; ++i) square += v(head, key, i) * v(head, key, i);
        p[static_cast<std::size_t>(key)] *= std::sqrt(square);
      }
      return p;
    }));
  }
  std::vector<Rows> pooled(std::int64_t block) const {
    return mean_of(of_heads([&](std::int64_t head, std::int64_t row) {
      std::vector<double> logits;
      for (std::int64_t key = 0; key <= row; ++key) {
        const std::int64_t first = key / block * block, end = std::min(first + block, row + 1);
        double sum = 0;
        for (std::int64_t other = first; other < end; ++other) sum += dot(head, row, other);
        logits.push_back(sum / static_cast<double>(end - first));
      }
      return softmax(logits);
    }));
  }
  std::vector<Rows> page_bounds(std::int64_t page, bool as_probabilities) const {
    return of_heads([&](std::int64_t head, std::int64_t row) {
      std::vector<double> logits;
      for (std::int64_t key = 0; key <= row; ++key) {
        double bound = 0;
        for (std::int64_t i = 0; i < in.head_dim; ++i) {
          double best = -INFINITY;
          for (std::int64_t other = key / page * page; other < std::min(key / page * page + page, row + 1); ++other)
            best = std::max(best, in.scale * q(head, row, i) * k(head, other, i));
          bound += best;
        }
        logits.push_back(bound);
      }
      return as_probabilities ? softmax(logits) : logits;
    });
  }
  std::vector<Rows> antidiagonals(std::int64_t block, std::int64_t stride) const {
    const std::int64_t tiles = (in.length + stride - 1) / stride, of_block = block / stride;
    std::vector<Rows> scores(static_cast<std::size_t>(in.num_q_heads));
    for (std::int64_t head = 0; head < in.num_q_heads; ++head) {
      std::vector<std::vector<double>> p;
      for (std::int64_t i = 0; i < tiles; ++i) {
        std::vector<double> logits;
        for (std::int64_t j = 0; j <= i; ++j) {
          double sum = 0;
          for (std::int64_t r = 0; r < stride; ++r) sum += dot(head, i * stride + stride - 1 - r, j * stride + r);
          logits.push_back(sum / static_cast<double>(stride));
        }
        p.push_back(softmax(logits));
      }
      for (std::int64_t row = 0; row < in.length; ++row) {
        const std::int64_t own = row / block;
        std::vector<double> of_row;
        for (std::int64_t key = 0; key <= row; ++key) {
          double mass = 0, pairs = 0;
          for (std::int64_t i = own * of_block; i < std::min((own + 1) * of_block, tiles); ++i)
            for (std::int64_t j = key / block * of_block; j < std::min((key / block + 1) * of_block, i + 1); ++j)
              mass += p[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)];
          for (std::int64_t t = own * block; t < std::min((own + 1) * block, in.length); ++t)
            for (std::int64_t s = key / block * block; s < std::min((key / block + 1) * block, t + 1); ++s) ++pairs;
          of_row.push_back(mass / pairs);
        }
        scores[static_cast<std::size_t>(head)].push_back(of_row);
      }
    }
    return scores;
  }

  /// By key, or by distance.
  std::vector<double> votes(std::int64_t head, std::int64_t window, bool by_distance) const {
    std::vector<double> sums(static_cast<std::size_t>(in.length));
    for (std::int64_t row = std::max<std::int64_t>(0, in.length - window); row < in.length; ++row) {
      const std::vector<double> p = reference::probabilities(in, head, row);
      for (std::int64_t key = 0; key <= row; ++key)
        sums[static_cast<std::size_t>(by_distance ? row - key : key)] += p[static_cast<std::size_t>(key)];
    }
    return sums;
  }
  std::vector<Rows> window_votes(std::int64_t window, std::int64_t pool) const {
    std::vector<Rows> scores;
    for (std::int64_t head = 0; head < in.num_q_heads; ++head) {
      const std::vector<double> own = votes(head, window, false);
      std::vector<double> pooled;
      for (std::int64_t key = 0; key < in.length; ++key) {
        double best = 0;
        for (std::int64_t other = key - pool / 2; other <= key + pool / 2; ++other)
          if (other >= 0 && other < in.length) best = std::max(best, own[static_cast<std::size_t>(other)]);
        pooled.push_back(best);
      }
      Rows rows;
      for (std::int64_t row = 0; row < in.length; ++row) rows.emplace_back(pooled.begin(), pooled.begin() + row + 1);
      scores.push_back(rows);
    }
    return scores;
  }

  /// The first `wanted` of a stable ranking, forced places before it.
  static std::vector<std::int64_t> best(const std::vector<double>& values, std::int64_t wanted, std::int64_t forced) {
    std::vector<std::int64_t> order(values.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
      if ((a < forced) != (b < forced)) return a < forced;
      return a >= forced && values[static_cast<std::size_t>(a)] > values[static_cast<std::size_t>(b)];
    });
    order.resize(std::min(order.size(), static_cast<std::size_t>(wanted)));
    return order;
  }
  static std::int64_t fewest(const std::vector<double>& values, double share, std::int64_t forced) {
    const double total = std::accumulate(values.begin(), values.end(), 0.0);
    double sum = 0;
    std::int64_t count = 0;
    for (const std::int64_t place : best(values, std::ssize(values), forced)) {
      if (count >= forced && sum >= share * total * (1 - 1e-12)) break;
      sum += values[static_cast<std::size_t>(place)];
      ++count;
    }
    return count;
  }
  static std::vector<std::int64_t> history(std::int64_t row) {
    std::vector<std::int64_t> keys(static_cast<std::size_t>(row + 1));
    std::iota(keys.begin(), keys.end(), 0);
    return keys;
  }
  static std::vector<std::int64_t> lines(std::int64_t row, const std::vector<std::int64_t>& columns,
                                         const std::vector<std::int64_t>& distances) {
    std::vector<std::int64_t> keys;
    for (std::int64_t key = 0; key <= row; ++key)
      if (std::ranges::count(columns, key) > 0 || std::ranges::count(distances, row - key) > 0) keys.push_back(key);
    return keys;
  }
  std::vector<reference::Supports> vertical_slash(std::int64_t tokens, std::int64_t window, double share) const {
    std::vector<reference::Supports> heads(static_cast<std::size_t>(in.num_q_heads));
    for (std::int64_t head = 0; head < in.num_q_heads; ++head) {
      const auto columns = std::min<std::int64_t>(std::llround(share * static_cast<double>(tokens)), tokens - 1);
      const auto keys = best(votes(head, window, false), columns, 0);
      const auto distances = best(votes(head, window, true), tokens - columns, 1);
      for (std::int64_t row = 0; row < in.length; ++row)
        heads[static_cast<std::size_t>(head)].push_back(row < tokens ? history(row) : lines(row, keys, distances));
    }
    return heads;
  }

  /// `share` 0: `tokens` keys a row. `blocks_used` counts heads that chose by blocks.
  std::vector<reference::Supports> flex_prefill(std::int64_t tokens, double share, std::int64_t block, double tau,
                                                int& blocks_used) const {
    const std::int64_t length = in.length, blocks = (length + block - 1) / block, window = std::min(block, length);
    const auto rows_of = [&](std::int64_t b) { return std::min((b + 1) * block, length) - b * block; };
    std::vector<reference::Supports> heads(static_cast<std::size_t>(in.num_q_heads));
    for (std::int64_t head = 0; head < in.num_q_heads; ++head) {
      // The mean query of rows [from, end) times the mean key of each of the first `seen` blocks.
      const auto estimate = [&](std::int64_t from, std::int64_t end, std::int64_t seen) {
        std::vector<double> logits;
        for (std::int64_t b = 0; b < seen; ++b) {
          double sum = 0;
          for (std::int64_t t = from; t < end; ++t)
            for (std::int64_t s = b * block; s < b * block + rows_of(b); ++s) sum += dot(head, t, s);
          logits.push_back(sum / static_cast<double>((end - from) * rows_of(b)));
        }
        return softmax(logits);
      };
      const std::vector<double> of_key = votes(head, block, false), of_distance = votes(head, block, true);
      const std::vector<double> guess = estimate(length - window, length, blocks);
      double divergence = 0;
      for (std::int64_t b = 0; b < blocks; ++b) {
        double seen = 0;
        for (std::int64_t key = b * block; key < b * block + rows_of(b); ++key)
          seen += of_key[static_cast<std::size_t>(key)];
        seen /= static_cast<double>(window);
        const double other = guess[static_cast<std::size_t>(b)], mean = (seen + other) / 2;
        divergence += (seen * std::log(seen / mean) + other * std::log(other / mean)) / 2;
      }
      const bool by_blocks = divergence < tau * tau;
      blocks_used += by_blocks;
      const auto columns = best(of_key, share > 0 ? fewest(of_key, share, 0) : tokens / 2, 0);
      const auto distances = best(of_distance, share > 0 ? fewest(of_distance, share, 1) : tokens - tokens / 2, 1);
      for (std::int64_t row = 0; row < length; ++row) {
        auto& support = heads[static_cast<std::size_t>(head)];
        if (share == 0 && row < tokens) {
          support.push_back(history(row));
        } else if (!by_blocks) {
          support.push_back(lines(row, columns, distances));
        } else {
          const std::int64_t own = row / block;
          const auto mass = estimate(own * block, own * block + rows_of(own), own + 1);
          const auto order = best(mass, share > 0 ? fewest_of_one(mass, share) : own + 1, 0);
          std::vector<std::int64_t> keys = {row};
          for (const std::int64_t b : order)
            for (std::int64_t key = b * block; key < std::min(b * block + block, row); ++key)
              if (share > 0 || std::ssize(keys) < tokens) keys.push_back(key);
          std::sort(keys.begin(), keys.end());
          support.push_back(keys);
        }
      }
    }
    return heads;
  }
  /// As fewest(), of values that sum to 1, one at least.
  static std::int64_t fewest_of_one(const std::vector<double>& values, double share) {
    double sum = 0;
    std::int64_t count = 0;
    for (const std::int64_t place : best(values, std::ssize(values), 0)) {
      if (count > 0 && sum >= share) break;
      sum += values[static_cast<std::size_t>(place)];
      ++count;
    }
    return count;
  }
};

/// Empty, or why `found` is not what a budget takes of the scores, up to keys whose scores differ by less than `close`
/// of the row's largest.
inline std::string judge_choice(const reference::Supports& found, const Rows& scores, const Budget& budget,
                                std::int64_t granularity, const ForcedKeys& forced, double close = 2e-5) {
  if (found.size() != scores.size()) return std::to_string(found.size()) + " rows";
  const auto expected = reference::select(scores, budget, granularity, forced);
  for (std::size_t row = 0; row < found.size(); ++row) {
    const auto &got = found[row], &best = expected[row];
    if (got == best) continue;
    const std::string where = "row " + std::to_string(row) + ": ";
    if (!std::ranges::is_sorted(got) || got.empty() || got.front() < 0 || got.back() != static_cast<std::int64_t>(row))
      return where + "out of order, or without its own key";
    const auto shared = reference::shared_scores(scores, static_cast<std::int64_t>(row), granularity);
    double largest = 0;
    for (const double value : shared) largest = std::max(largest, std::abs(value));
    if (got.size() != best.size()) {
      if (budget.kind != BudgetKind::mass) return where + std::to_string(got.size()) + " keys";
      // One key more or less, where the sum reaches the share, or nearly, without it.
      const double has = reference::captured_mass(shared, got), least = reference::captured_mass(shared, best);
      const double wanted = budget.value * std::accumulate(shared.begin(), shared.end(), 0.0);
      if (std::abs(std::ssize(got) - std::ssize(best)) > 1 || std::min(has, least) < wanted * (1 - close))
        return where + std::to_string(has) + " of " + std::to_string(least);
      continue;
    }
    for (const std::int64_t key : got)
      if (!std::ranges::binary_search(best, key))
        for (const std::int64_t other : best)
          if (!std::ranges::binary_search(got, other) &&
              std::abs(shared[static_cast<std::size_t>(key)] - shared[static_cast<std::size_t>(other)]) >
                  close * largest)
            return where + "key " + std::to_string(key) + " in place of " + std::to_string(other);
  }
  return {};
}

}  // namespace headroom::attention::testing
