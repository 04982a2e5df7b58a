// SPDX-License-Identifier: Apache-2.0
#include "statistics/distributions.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace headroom::statistics {

double normal_tail(double z) {
  return 0.5 * std::erfc(-z / std::numbers::sqrt2);
}

double normal_quantile(double probability) {
  double low = -40, high = 40;
  for (int step = 0; step < 200 && high - low > 1e-14; ++step) {
    const double middle = 0.5 * (low + high);
    (normal_tail(middle) < probability ? low : high) = middle;
  }
  return 0.5 * (low + high);
}

double t_quantile(double probability, double freedom) {
  const double z = normal_quantile(probability), z2 = z * z;
  // Abramowitz and Stegun 26.7.5.
  const double g1 = z * (z2 + 1) / 4;
  const double g2 = z * ((5 * z2 + 16) * z2 + 3) / 96;
  const double g3 = z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / 384;
  return z + ((g3 / freedom + g2) / freedom + g1) / freedom;
}

double coin_tail(std::int64_t k, std::int64_t n) {
  if (k < 0) return 0;
  if (k >= n) return 1;
  const double count = static_cast<double>(n), all = std::lgamma(count + 1) - count * std::numbers::ln2;
  double sum = 0;
  for (std::int64_t i = 0; i <= k; ++i) {
    const double hits = static_cast<double>(i);
    sum += std::exp(all - std::lgamma(hits + 1) - std::lgamma(count - hits + 1));
  }
  return std::min(sum, 1.0);
}

}  // namespace headroom::statistics
