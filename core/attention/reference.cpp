// SPDX-License-Identifier: Apache-2.0
#include "attention/reference.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace headroom::attention::reference {
namespace {

std::vector<double> values_of(const at::Tensor& tensor) {
  const at::Tensor copy = tensor.to(at::kCPU).to(at::kDouble).contiguous();
  const double* data = copy.const_data_ptr<double>();
  return {data, data + copy.numel()};
}

/// scale * q.k of one head for keys 0 … row.
std::vector<double> scores(const Inputs& in, std::int64_t head, std::int64_t row) {
  const std::int64_t kv_head = head / (in.num_q_heads / in.num_kv_heads);
  const double* q = in.q.data() + (head * in.length + row) * in.head_dim;
  std::vector<double> result;
  for (std::int64_t key = 0; key <= row; ++key) {
    const double* k = in.k.data() + (kv_head * in.length + key) * in.head_dim;
    double dot = 0;
    for (std::int64_t i = 0; i < in.head_dim; ++i) dot += q[i] * k[i];
    result.push_back(in.scale * dot);
  }
  return result;
}

/// Log-sum-exp in two parts, so that probabilities of huge scores keep their digits.
struct LogSum {
  double largest = 0, log_sum = 0;
  /// -inf where every score is -inf (or there is none), NaN where one is NaN or +inf.
  double value() const { return largest + log_sum; }
  double probability(double score) const { return std::exp(score - largest - log_sum); }
};

LogSum log_sum_exp(const Inputs& in, std::int64_t head, const std::vector<double>& s,
                   const std::vector<std::int64_t>& keys) {
  constexpr double lowest = -std::numeric_limits<double>::infinity();
  double largest = lowest;
  for (const std::int64_t key : keys) largest = std::max(largest, s[static_cast<std::size_t>(key)]);
  const double sink = in.sinks.empty() ? lowest : in.sinks[static_cast<std::size_t>(head)];
  largest = std::max(largest, sink);
  if (largest == lowest) largest = 0;
  double sum = std::exp(sink - largest);
  for (const std::int64_t key : keys) sum += std::exp(s[static_cast<std::size_t>(key)] - largest);
  return {largest, std::log(sum)};
}

std::vector<std::int64_t> first_keys(std::int64_t count) {
  std::vector<std::int64_t> keys(static_cast<std::size_t>(count));
  std::iota(keys.begin(), keys.end(), 0);
  return keys;
}

bool is_forced(std::int64_t key, std::int64_t n, const ForcedKeys& forced) {
  return key < forced.sinks || key >= n - std::max<std::int64_t>(1, forced.local);
}

/// All positions in the order in which a budget takes them.
std::vector<std::int64_t> ranking(const std::vector<double>& scores, const ForcedKeys& forced) {
  const auto n = static_cast<std::int64_t>(scores.size());
  const auto rank_class = [&](std::int64_t key) {
    return key == n - 1 ? 0 : key < forced.sinks ? 1 : is_forced(key, n, forced) ? 2 : 3;
  };
  std::vector<std::int64_t> order = first_keys(n);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    if (rank_class(a) != rank_class(b)) return rank_class(a) < rank_class(b);
    if (rank_class(a) == 2) return a > b;  // the newest first
    return rank_class(a) == 3 && scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
  });
  return order;
}

}  // namespace

Inputs inputs_of(const LayerQuery& query) {
  Inputs in{query.length(), query.num_q_heads(), query.num_kv_heads(), query.head_dim(), query.scale, {}, {}, {}, {}};
  in.q = values_of(query.q);
  in.k = values_of(query.k);
  in.v = values_of(query.v);
  if (query.sinks.defined()) in.sinks = values_of(query.sinks);
  return in;
}

std::vector<double> probabilities(const Inputs& in, std::int64_t head, std::int64_t row) {
  std::vector<double> p = scores(in, head, row);
  const LogSum lse = log_sum_exp(in, head, p, first_keys(row + 1));
  for (double& value : p) value = lse.probability(value);
  return p;
}

std::vector<double> mass(const Inputs& in, std::int64_t row) {
  std::vector<double> m(static_cast<std::size_t>(row + 1));
  for (std::int64_t head = 0; head < in.num_q_heads; ++head) {
    const std::vector<double> p = probabilities(in, head, row);
    for (std::size_t key = 0; key < m.size(); ++key) m[key] += p[key] / static_cast<double>(in.num_q_heads);
  }
  return m;
}

Outputs dense(const Inputs& in) {
  Supports all;
  for (std::int64_t row = 0; row < in.length; ++row) all.push_back(first_keys(row + 1));
  return sparse(in, all);
}

Outputs sparse(const Inputs& in, const Supports& supports) {
  return sparse(in, std::vector<Supports>{supports});
}

Outputs sparse(const Inputs& in, const std::vector<Supports>& groups) {
  Outputs result;
  result.out.resize(in.q.size());
  result.lse.resize(static_cast<std::size_t>(in.num_q_heads * in.length));
  for (std::int64_t head = 0; head < in.num_q_heads; ++head) {
    const std::int64_t kv_head = head / (in.num_q_heads / in.num_kv_heads);
    const Supports& supports = groups[static_cast<std::size_t>(head / (in.num_q_heads / std::ssize(groups)))];
    for (std::int64_t row = 0; row < in.length; ++row) {
      const auto& keys = supports[static_cast<std::size_t>(row)];
      const std::vector<double> s = scores(in, head, row);
      const LogSum lse = log_sum_exp(in, head, s, keys);
      result.lse[static_cast<std::size_t>(head * in.length + row)] = lse.value();
      double* out = result.out.data() + (head * in.length + row) * in.head_dim;
      for (const std::int64_t key : keys) {
        const double p = lse.probability(s[static_cast<std::size_t>(key)]);
        const double* v = in.v.data() + (kv_head * in.length + key) * in.head_dim;
        for (std::int64_t i = 0; i < in.head_dim; ++i) out[i] += p * v[i];
      }
    }
  }
  return result;
}

std::vector<double> shared_scores(const std::vector<std::vector<double>>& rows, std::int64_t row,
                                  std::int64_t granularity) {
  const std::int64_t begin = row / granularity * granularity;
  const std::int64_t end = std::min(begin + granularity, static_cast<std::int64_t>(rows.size()));
  std::vector<double> sums(static_cast<std::size_t>(row + 1));
  for (std::int64_t other = begin; other < end; ++other)
    for (std::int64_t key = 0; key <= std::min(row, other); ++key)
      sums[static_cast<std::size_t>(key)] += rows[static_cast<std::size_t>(other)][static_cast<std::size_t>(key)];
  return sums;
}

std::vector<std::int64_t> top_k(const std::vector<double>& scores, std::int64_t k, const ForcedKeys& forced) {
  std::vector<std::int64_t> keys = ranking(scores, forced);
  if (k < static_cast<std::int64_t>(keys.size())) keys.resize(static_cast<std::size_t>(k));
  std::sort(keys.begin(), keys.end());
  return keys;
}

std::vector<std::int64_t> fewest_for_mass(const std::vector<double>& scores, double share, const ForcedKeys& forced) {
  const auto n = static_cast<std::int64_t>(scores.size());
  // The slack is far below any score that matters, and above the rounding of the two sums.
  const double wanted = share * std::accumulate(scores.begin(), scores.end(), 0.0) * (1 - 1e-12);
  std::vector<std::int64_t> keys;
  double sum = 0;
  for (const std::int64_t key : ranking(scores, forced)) {
    if (!is_forced(key, n, forced) && sum >= wanted) break;
    keys.push_back(key);
    sum += scores[static_cast<std::size_t>(key)];
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

Supports select(const std::vector<std::vector<double>>& rows, const Budget& budget, std::int64_t granularity,
                const ForcedKeys& forced) {
  const auto length = static_cast<std::int64_t>(rows.size());
  Supports supports;
  for (std::int64_t row = 0; row < length; ++row) {
    const std::vector<double> scores = shared_scores(rows, row, granularity);
    supports.push_back(budget.kind == BudgetKind::mass ? fewest_for_mass(scores, budget.value, forced)
                                                       : top_k(scores, budget.tokens_for(length), forced));
  }
  return supports;
}

Supports oracle_supports(const Inputs& in, const Budget& budget, std::int64_t granularity, const ForcedKeys& forced) {
  std::vector<std::vector<double>> rows;
  for (std::int64_t row = 0; row < in.length; ++row) rows.push_back(mass(in, row));
  return select(rows, budget, granularity, forced);
}

double captured_mass(const std::vector<double>& row_mass, const std::vector<std::int64_t>& support) {
  double sum = 0;
  for (const std::int64_t key : support) sum += row_mass[static_cast<std::size_t>(key)];
  return sum;
}

double recall(const std::vector<std::int64_t>& support, const std::vector<std::int64_t>& target) {
  if (target.empty()) return 1;
  std::vector<std::int64_t> hit;
  std::set_intersection(support.begin(), support.end(), target.begin(), target.end(), std::back_inserter(hit));
  return static_cast<double>(hit.size()) / static_cast<double>(target.size());
}

}  // namespace headroom::attention::reference
