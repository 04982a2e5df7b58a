// SPDX-License-Identifier: Apache-2.0
// Rotary position embedding of the indexer: rotate-half pairs over the whole width.
#pragma once

#include <ATen/core/Tensor.h>

namespace headroom::attention {

/// cos and sin of position * base^(-2i/d), [N, d / 2] fp32.
struct RotaryTable {
  at::Tensor cosine;
  at::Tensor sine;
};
/// `positions` [N] int64; `dim` d, even.
RotaryTable rotary_table(const at::Tensor& positions, std::int64_t dim, double base);
/// `x` [N, d] turned by a table of the same N and d; fp32.
at::Tensor rotate(const at::Tensor& x, const RotaryTable& table, bool inverse = false);

/// `x` [N, d] (d even), `positions` [N] int64: pair (i, i + d/2) turned by position * base^(-2i/d), in fp32. `inverse`
/// turns back, which is also the gradient. Returns fp32 [N, d].
at::Tensor rotate(const at::Tensor& x, const at::Tensor& positions, double base, bool inverse = false);

}  // namespace headroom::attention
