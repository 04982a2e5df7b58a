// SPDX-License-Identifier: Apache-2.0
// The row-wise steps of row_kernels.h on our CUDA kernels (core/kernels/cuda/rows). Each returns false, having done
// nothing, where the kernels are not loaded or the tensors are not theirs: no GPU, another type than bf16, a width that
// is no multiple of 8, rows with gaps between their elements.
#pragma once

#include <ATen/core/Tensor.h>

#include "model/row_kernels.h"

namespace headroom::model::cuda_rows {

/// hidden += addend, where it is defined; then out = hidden / rms(hidden) * weight, where out is defined.
bool norm(const at::Tensor& hidden, const at::Tensor& addend, const at::Tensor& weight, double epsilon,
          const at::Tensor& out);
bool silu_mul(const at::Tensor& gate_up, const at::Tensor& gated);

/// What becomes of a row of q, k and v by head.
struct HeadRows {
  at::Tensor qkv;             ///< [rows, (Hq + 2 Hkv) d], or with a gate behind each head of q [rows, (2 Hq + 2 Hkv) d]
  at::Tensor q_norm, k_norm;  ///< [d], or undefined
  RopeTable table;            ///< of these rows
  at::Tensor q, k, v;         ///< out, [Hq, L, d], [Hkv, L, d]
  at::Tensor gate;            ///< out, [rows, Hq d], or undefined: rows hold none
  std::int64_t first_row = 0;  ///< the place in L of the first of the rows
  double epsilon = 0;          ///< of the norms
};
bool split_heads(const HeadRows& heads);

/// out [rows, H d] = heads [rows, H, d] * sigmoid(gate [rows, H d]).
bool gate_heads(const at::Tensor& heads, const at::Tensor& gate, const at::Tensor& out);

}  // namespace headroom::model::cuda_rows
