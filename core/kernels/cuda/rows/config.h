// SPDX-License-Identifier: Apache-2.0
// The row-wise steps between a decoder's large products, bf16 in memory and fp32 between: what the kernels are told.
// Each reads and writes every number once. Rounds to bf16 where LibTorch's operators, one after the other, do.
#pragma once

#include <cstdint>

namespace headroom::kernels::cuda {

/// hidden += addend, where there is one; then out = hidden / rms(hidden) * weight, where it is asked for.
struct NormRowsParams {
  void* hidden = nullptr;                                    ///< bf16 [rows, width]
  const void* addend = nullptr;                              ///< bf16 [rows, width], or null: hidden is only read
  const void* weight = nullptr;                              ///< bf16 [width]
  void* out = nullptr;                                       ///< bf16 [rows, width], or null
  std::int64_t hidden_row = 0, addend_row = 0, out_row = 0;  ///< strides, multiples of 8
  std::int64_t rows = 0, width = 0;                          ///< width: a multiple of 8, at most norm_most_width
  float epsilon = 0;
};
inline constexpr std::int64_t norm_most_width = 16384;

/// out = silu(gate_up[, :width]) * gate_up[, width:].
struct SiluMulParams {
  const void* gate_up = nullptr;              ///< bf16 [rows, 2 width]
  void* out = nullptr;                        ///< bf16 [rows, width]
  std::int64_t gate_up_row = 0, out_row = 0;  ///< strides, multiples of 8
  std::int64_t rows = 0, width = 0;           ///< width: a multiple of 8
};

/// Rows of q, k and v by head: norms of q's and k's heads where there are weights, rotation of the first 2 half
/// dimensions of a head by halves, and of rows that hold a gate behind each head of q, the gate apart.
struct SplitHeadsParams {
  const void* qkv = nullptr;  ///< bf16 [rows, q heads (each with its gate, where `gate` is), k heads, v heads]
  const float *cosine = nullptr, *sine = nullptr;   ///< [rows, half], without gaps
  const void *q_norm = nullptr, *k_norm = nullptr;  ///< bf16 [head_dim] or null
  void *q = nullptr, *k = nullptr, *v = nullptr;    ///< bf16, where the first of the rows goes in its first head
  void* gate = nullptr;                             ///< bf16 [rows, q heads * head_dim] or null
  std::int64_t qkv_row = 0, gate_row = 0;           ///< strides
  std::int64_t q_head = 0, k_head = 0, v_head = 0;  ///< from head to head; rows of a head follow each other
  std::int64_t rows = 0;
  std::int32_t num_q_heads = 0, num_kv_heads = 0, head_dim = 0;  ///< head_dim 64, 128 or 256
  std::int32_t half = 0;                                         ///< a multiple of head_dim / 32
  float epsilon = 0;
};

/// out = heads * sigmoid(gate), heads turned into rows.
struct GateHeadsParams {
  const void* heads = nullptr;  ///< bf16 [rows, num_heads, head_dim] by its strides
  const void* gate = nullptr;   ///< bf16 [rows, num_heads * head_dim]
  void* out = nullptr;          ///< the same
  std::int64_t heads_row = 0, heads_head = 0, gate_row = 0, out_row = 0;  ///< strides, multiples of 8
  std::int64_t rows = 0;
  std::int32_t num_heads = 0, head_dim = 0;
};

}  // namespace headroom::kernels::cuda
