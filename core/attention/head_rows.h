// SPDX-License-Identifier: Apache-2.0
// Rows of attention probabilities on the CPU: one layer's q and packed k, ready for the row kernels.
#pragma once

#include <cstdint>
#include <vector>

#include "attention/layer_query.h"

namespace headroom::attention {

/// Copies q (scaled) and k as fp32, in which bf16 products are exact. Immutable, so threads may share it; what it
/// computes for a row does not depend on how rows are split.
class HeadRows {
 public:
  /// Any device and dtype; threads over the packing.
  explicit HeadRows(const LayerQuery& query);

  std::int64_t length() const { return length_; }
  std::int64_t num_q_heads() const { return num_q_heads_; }
  bool has_sinks() const { return !sinks_.empty(); }
  /// Floats between rows that the functions below need for rows that end before `row_end`.
  static std::int64_t stride(std::int64_t row_end);

  /// softmax(scale * q.k) of one query head for rows [begin, end): p [rows, stride]; a row t is written up to its
  /// own panel, with zeros behind t. `lse`: [rows] log-sum-exp, or null. Where the layer has sinks both are with them:
  /// p then adds up to 1 less the sink's share.
  void probabilities(std::int64_t head, std::int64_t begin, std::int64_t end, float* p, std::int64_t row_stride,
                     float* lse) const;

 private:
  std::int64_t length_ = 0, num_q_heads_ = 0, num_kv_heads_ = 0, head_dim_ = 0;
  std::vector<float> sinks_;   ///< [Hq], or empty
  std::vector<float> q_;       ///< [Hq, L, d]
  std::vector<float> panels_;  ///< [Hkv, panels, d, panel_keys]
};

}  // namespace headroom::attention
