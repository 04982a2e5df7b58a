// SPDX-License-Identifier: Apache-2.0
// The gated delta rule (Yang, Kautz, Hatamizadeh 2024, arXiv 2412.06464): a matrix of d_k x d_v a head that is decayed,
// corrected and read at each token. Chunked for many rows, one step for one. ATen's operators, in fp32, any device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "base/progress.h"

namespace headroom::model {

/// Of R rows, fp32. `group` value heads share each key head and follow each other.
struct DeltaRows {
  at::Tensor q, k;       ///< [Hk, R, dk], as the rule takes them: normalised, q scaled
  at::Tensor v;          ///< [Hk, group, R, dv]
  at::Tensor log_decay;  ///< [Hk, group, R], at most 0: what the state is multiplied by, as a logarithm
  at::Tensor rate;       ///< [Hk, group, R], 0 … 1: how far the state is moved to what the row holds
};

constexpr std::int64_t delta_chunk = 64;

/// S_t = e^g S_(t-1); S_t += k (rate (v - S_t^T k))^T; o_t = S_t^T q. `state` [Hk, group, dk, dv] holds S before and
/// after. Returns o [Hk, group, R, dv]. Polls `job` between chunks.
at::Tensor gated_delta_rule(const DeltaRows& rows, at::Tensor& state, const JobContext& job);

}  // namespace headroom::model
