// SPDX-License-Identifier: Apache-2.0
// Launches of the row-wise kernels.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/rows/config.h"
#include "kernels/cuda/rows/rows.cuh"

namespace headroom::kernels::cuda {

inline const char* launched() {
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

inline const char* norm_rows(const NormRowsParams& p, void* on_stream) {
  if (p.rows <= 0 || p.width <= 0) return nullptr;
  if (p.width % 8 != 0 || p.width > norm_most_width) return "rows are no multiple of 8 wide, or too wide";
  if (p.hidden_row % 8 != 0 || p.addend_row % 8 != 0 || p.out_row % 8 != 0)
    return "rows do not begin at multiples of 16 bytes";
  const auto rows = static_cast<unsigned>(p.rows);
  const auto stream = static_cast<cudaStream_t>(on_stream);
  if (p.width <= 2048)
    norm_rows_kernel<1><<<rows, 256, 8 * sizeof(float), stream>>>(p);
  else if (p.width <= 4096)
    norm_rows_kernel<2><<<rows, 256, 8 * sizeof(float), stream>>>(p);
  else if (p.width <= 8192)
    norm_rows_kernel<4><<<rows, 256, 8 * sizeof(float), stream>>>(p);
  else
    norm_rows_kernel<8><<<rows, 256, 8 * sizeof(float), stream>>>(p);
  return launched();
}

inline const char* silu_mul(const SiluMulParams& p, void* stream) {
  if (p.rows <= 0 || p.width <= 0) return nullptr;
  if (p.width % 8 != 0 || p.gate_up_row % 8 != 0 || p.out_row % 8 != 0)
    return "rows do not begin at multiples of 16 bytes";
  const std::int64_t blocks = p.rows * ((p.width + 2047) / 2048);
  if (blocks > 0x7fffffff) return "more rows at once than a launch has blocks for";
  silu_mul_kernel<<<static_cast<unsigned>(blocks), 256, 0, static_cast<cudaStream_t>(stream)>>>(p);
  return launched();
}

inline const char* split_heads(const SplitHeadsParams& p, void* on_stream) {
  if (p.rows <= 0) return nullptr;
  const std::int64_t warps = p.rows * (p.num_q_heads + 2 * p.num_kv_heads);
  if (warps > 0x7fffffff) return "more rows at once than a launch has blocks for";
  const auto stream = static_cast<cudaStream_t>(on_stream);
  const auto blocks = static_cast<unsigned>((warps + 7) / 8);
  if (p.head_dim != 64 && p.head_dim != 128 && p.head_dim != 256) return "head_dim is not 64, 128 or 256";
  if (p.half % (p.head_dim / 32) != 0 || 2 * p.half > p.head_dim) return "so many dimensions are not rotated here";
  if (p.qkv_row % 8 != 0 || p.gate_row % 8 != 0) return "rows do not begin at multiples of 16 bytes";
  if (p.head_dim == 64)
    split_heads_kernel<64><<<blocks, 256, 0, stream>>>(p);
  else if (p.head_dim == 128)
    split_heads_kernel<128><<<blocks, 256, 0, stream>>>(p);
  else
    split_heads_kernel<256><<<blocks, 256, 0, stream>>>(p);
  return launched();
}

inline const char* gate_heads(const GateHeadsParams& p, void* stream) {
  if (p.rows <= 0) return nullptr;
  if (p.head_dim % 8 != 0 || p.heads_row % 8 != 0 || p.heads_head % 8 != 0 || p.gate_row % 8 != 0 || p.out_row % 8 != 0)
    return "rows do not begin at multiples of 16 bytes";
  const std::int64_t blocks = p.rows * ((static_cast<std::int64_t>(p.num_heads) * p.head_dim + 2047) / 2048);
  if (blocks > 0x7fffffff) return "more rows at once than a launch has blocks for";
  gate_heads_kernel<<<static_cast<unsigned>(blocks), 256, 0, static_cast<cudaStream_t>(stream)>>>(p);
  return launched();
}

}  // namespace headroom::kernels::cuda
