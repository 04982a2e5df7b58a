// SPDX-License-Identifier: Apache-2.0
// Attention mass of row tiles (METHOD.md, "Words"): m_t(s) = (1/H) sum_h softmax_h(scale * q_t.k_s).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "attention/head_rows.h"
#include "attention/policy.h"

namespace headroom::attention {

/// One layer's mass in fp32 (bf16 products are exact there): row kernels on the CPU, LibTorch operators elsewhere.
/// Thread-safe after construction.
class MassScorer {
 public:
  explicit MassScorer(const LayerQuery& query);

  /// Head-averaged probabilities of rows [begin, end) over keys [0, end): fp32 [rows, end], 0 where key > row.
  at::Tensor mass(std::int64_t begin, std::int64_t end) const;

 private:
  std::optional<HeadRows> cpu_;
  std::int64_t num_q_heads_ = 0, group_ = 1;
  at::Tensor q_;  ///< [Hq, L, d] fp32, scaled
  at::Tensor k_;  ///< [Hkv, L, d] fp32
};

}  // namespace headroom::attention
