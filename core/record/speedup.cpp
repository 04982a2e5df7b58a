// SPDX-License-Identifier: Apache-2.0
#include "record/speedup.h"

#include <algorithm>
#include <vector>

namespace headroom::record {
namespace {

double order_statistic(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(place);
  const auto high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - static_cast<double>(low));
}

}  // namespace

std::optional<Speedup> speedup_over(const MethodSummary& method, const MethodSummary& baseline, bool timed_in_turn) {
  if (method.id == baseline.id || method.role != MethodRole::deployable || !method.label.empty()) return std::nullopt;
  if (method.timing_plan && method.timing_plan->dense_throughout()) return std::nullopt;
  for (const Quartiles* time : {&method.ttft, &baseline.ttft})
    if (time->repeats <= 0 || !(time->median > 0)) return std::nullopt;
  Speedup result;
  result.passes = std::min(method.ttft.repeats, baseline.ttft.repeats);
  result.disturbed = (method.load && method.load->disturbed()) || (baseline.load && baseline.load->disturbed());
  const auto &times = method.ttft_samples, &others = baseline.ttft_samples;
  const auto positive = [](double time) { return time > 0; };
  if (timed_in_turn && !times.empty() && times.size() == others.size() &&
      std::all_of(times.begin(), times.end(), positive) && std::all_of(others.begin(), others.end(), positive)) {
    std::vector<double> ratios;
    for (std::size_t i = 0; i < times.size(); ++i) ratios.push_back(others[i] / times[i]);
    std::sort(ratios.begin(), ratios.end());
    result.pairs = static_cast<int>(ratios.size());
    result.ratio = order_statistic(ratios, 0.5);
    result.low = order_statistic(ratios, 0.25);
    result.high = order_statistic(ratios, 0.75);
  } else {
    result.ratio = result.low = result.high = baseline.ttft.median / method.ttft.median;
  }
  return result;
}

}  // namespace headroom::record
