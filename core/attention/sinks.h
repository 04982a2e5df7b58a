// SPDX-License-Identifier: Apache-2.0
// Attention sinks as learned logits (gpt-oss): one number a query head that joins the softmax of every row and has no
// value. It only takes a share: attention over any keys becomes e^lse / (e^lse + e^sink) of itself, and with the joint
// log-sum-exp in place of the keys' alone masses add up to 1 less the sink's share.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace headroom::attention {

/// `sinks` [Hq] fp32; `lse` [Hq, L] fp32 of rows [begin, begin + rows) over their keys alone becomes the joint one; the
/// same rows of `out` [Hq, L, d], where defined, are scaled. All on one device.
void join_sinks(const at::Tensor& sinks, std::int64_t begin, std::int64_t rows, const at::Tensor& lse,
                const at::Tensor& out);

}  // namespace headroom::attention
