// SPDX-License-Identifier: Apache-2.0
// Mixtures of experts: rows dealt out to the experts that a router chose, products expert by expert over all of its
// rows at once, and what they give put together again.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace headroom::model {

/// R rows, each with `used` of E experts: R * used assignments, ordered by expert.
class ExpertGroups {
 public:
  /// `chosen` [R, used] int64, `weights` [R, used].
  ExpertGroups(const at::Tensor& chosen, const at::Tensor& weights, std::int64_t experts);

  /// rows [R, width] -> [R * used, width], ordered by expert.
  at::Tensor gather(const at::Tensor& rows) const;
  /// Row by row the product with its expert's matrix: in [R * used, from], matrices [E, to, from] -> [R * used, to].
  at::Tensor product(const at::Tensor& in, const at::Tensor& matrices) const;
  /// values [E, n] -> [R * used, n], each row its expert's.
  at::Tensor of_experts(const at::Tensor& values) const;
  /// The weighted sums of a row's experts, into `out` [R, width]. In the same order on every device and each time.
  void combine(const at::Tensor& values, at::Tensor out) const;

 private:
  std::int64_t used_;
  at::Tensor weights_;  // [R, used]
  at::Tensor experts_;  // [R * used] of the ordered assignments
  at::Tensor order_;    // [R * used]: assignment (row * used + which) of each
  at::Tensor ends_;     // [E] int32: where each expert's assignments end
};

}  // namespace headroom::model
