// SPDX-License-Identifier: Apache-2.0
// Dense attention of some rows over a past, by LibTorch on any device: decoding, chunks of a prompt, sliding windows.
// On a GPU of compute capability 8.0 and newer bf16 and fp16 go through its FlashAttention-2, soft caps aside.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "base/progress.h"
#include "model/model_config.h"

namespace headroom::model {

/// Rows of q [Hq, R, d] are positions past … past + R - 1; k, v [Hkv, at least past + R, d] hold every position's.
/// Attends as `spec` says (scale, window, soft cap), with `sinks` [Hq] fp32 where it has them, over the keys that a row
/// sees alone; without FlashAttention-2 in chunks of rows. Returns [Hq, R, d] in q's dtype. Polls `job` between chunks.
at::Tensor attend_over_past(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t past,
                            const AttentionSpec& spec, const at::Tensor& sinks, const JobContext& job);

}  // namespace headroom::model
