// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding of the indexer: rotate-half pairs over the whole width.
#pragma once

#include <ATen/core/Tensor.h>

namespace headroom::indexer {

/// `x` [N, d] (d even), `positions` [N] int64: pair (i, i + d/2) turned by position * base^(-2i/d), in fp32. `inverse`
/// turns back, which is also the gradient. Returns fp32 [N, d].
at::Tensor rotate(const at::Tensor& x, const at::Tensor& positions, double base, bool inverse = false);

}  // namespace headroom::indexer
