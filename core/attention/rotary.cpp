// SPDX-License-Identifier: Apache-2.0
#include "attention/rotary.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/outer.h>

#include <cmath>

namespace headroom::attention {

RotaryTable rotary_table(const at::Tensor& positions, std::int64_t dim, double base) {
  const std::int64_t half = dim / 2;
  const auto options = positions.options().dtype(at::kDouble);
  const at::Tensor frequencies = at::exp(at::arange(half, options) * (-std::log(base) / static_cast<double>(half)));
  // Angles in double: at position 8,000 a float angle is off by up to 2.4e-4.
  const at::Tensor angles = at::outer(positions.to(at::kDouble), frequencies);
  return {angles.cos().to(at::kFloat), angles.sin().to(at::kFloat)};
}

at::Tensor rotate(const at::Tensor& x, const RotaryTable& table, bool inverse) {
  const std::int64_t half = x.size(1) / 2;
  const at::Tensor& cosine = table.cosine;
  const at::Tensor sine = inverse ? table.sine.neg() : table.sine;
  const at::Tensor values = x.to(at::kFloat);
  const at::Tensor first = values.narrow(1, 0, half), second = values.narrow(1, half, half);
  return at::cat({first * cosine - second * sine, second * cosine + first * sine}, 1);
}

at::Tensor rotate(const at::Tensor& x, const at::Tensor& positions, double base, bool inverse) {
  return rotate(x, rotary_table(positions, x.size(1), base), inverse);
}

}  // namespace headroom::attention
