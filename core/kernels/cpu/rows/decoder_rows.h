// SPDX-License-Identifier: Apache-2.0
// The decoder's row-wise steps between its large products, each one pass over its rows: residual and RMS norm, SwiGLU,
// split by heads and rotary embedding. Rows are independent and threads are the caller's: no result depends on how rows
// are dealt out, nor on the instruction set.
#pragma once

#include <cstdint>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/types.h"

namespace headroom::kernels::cpu {

/// hidden[r] += addend[r], rounded to the element type; out[r] = hidden[r] / sqrt(mean square + epsilon) * weight.
/// All [rows, width] without gaps, of one element type. Statistics in fp32. `hidden` is only read where there is no
/// addend.
struct NormRows {
  void* hidden = nullptr;
  const void* addend = nullptr;   ///< null: nothing is added
  const float* weight = nullptr;  ///< [width]
  float epsilon = 0;
  void* out = nullptr;  ///< may be `addend`; null: no norm, the sum alone
  std::int64_t rows = 0, width = 0;
};

/// out[r, j] = silu(gate_up[r, j]) * gate_up[r, width + j], silu(x) = x / (1 + exp(-x)); silu is rounded to the element
/// type before the product, as frameworks do.
struct GateRows {
  const void* gate_up = nullptr;  ///< [rows, 2 width]
  void* out = nullptr;            ///< [rows, width]
  std::int64_t rows = 0, width = 0;
};

/// Splits rows of the joint projection by head: q and k rotated by halves, v as it is. Row r goes to place first + r of
/// every head. With a = first half and b = second half of a head: a cos - b sin, b cos + a sin, in fp32.
struct RopeRows {
  const void* qkv = nullptr;                       ///< [rows, (Hq + 2 Hkv) d]
  const float *cosine = nullptr, *sine = nullptr;  ///< [rows, d/2]
  std::int64_t num_q_heads = 0, num_kv_heads = 0, head_dim = 0;
  std::int64_t rows = 0, first = 0, places = 0;   ///< `places` of a head
  void *q = nullptr, *k = nullptr, *v = nullptr;  ///< [Hq, places, d], [Hkv, places, d], [Hkv, places, d]
};

struct DecoderRows {
  Isa isa = Isa::baseline;
  void (*norm)(Element element, const NormRows& arguments) = nullptr;
  void (*gate)(Element element, const GateRows& arguments) = nullptr;
  void (*rope)(Element element, const RopeRows& arguments) = nullptr;
};

/// The best set that this machine runs and that is not above `at_most`.
const DecoderRows& decoder_rows(Isa at_most = Isa::avx512_bf16);

}  // namespace headroom::kernels::cpu
