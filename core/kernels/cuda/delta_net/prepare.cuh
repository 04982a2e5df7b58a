// SPDX-License-Identifier: Apache-2.0
// The short causal convolution with SiLU over q, k and v, and the l2 norm of q and k, written as the tiles that the
// other kernels copy; and the norm and gate of what the rule gives. One read and one write of each number.
#pragma once

#include <cuda_bf16.h>

#include "kernels/cuda/delta_net/config.h"
#include "kernels/cuda/elements.cuh"

namespace headroom::kernels::cuda {

/// Where the workspace holds what one kernel leaves for the next.
struct DeltaWork {
  DeltaNetParams p;
  std::int64_t chunks = 0;
  char *q = nullptr, *k = nullptr;  ///< [chunks, key_heads] tiles
  char* v = nullptr;                ///< [chunks, value_heads] tiles
  char* inverse = nullptr;          ///< [chunks, value_heads] panels: (I + tril(rate k k^T e^(g_i - g_j), -1))^-1
  char* scores = nullptr;           ///< [chunks, value_heads] panels: tril(q k^T e^(g_i - g_j))
  float* factors = nullptr;         ///< [chunks, value_heads, 3, 64]
};

inline DeltaWork delta_work(const DeltaNetParams& p) {
  DeltaWork work;
  work.p = p;
  auto* at = static_cast<char*>(p.workspace);
  const std::int64_t chunks = work.chunks = delta_chunks(p.rows);
  const auto take = [&](std::int64_t bytes) {
    char* const begin = at;
    at += bytes;
    return begin;
  };
  work.q = take(chunks * p.key_heads * delta_tile_bytes);
  work.k = take(chunks * p.key_heads * delta_tile_bytes);
  work.v = take(chunks * p.value_heads * delta_tile_bytes);
  work.inverse = take(chunks * p.value_heads * delta_panel_bytes);
  work.scores = take(chunks * p.value_heads * delta_panel_bytes);
  work.factors = reinterpret_cast<float*>(at);
  return work;
}

__device__ __forceinline__ int delta_key_head(const DeltaNetParams& p, int value_head) {
  return p.tiled_heads ? value_head % p.key_heads : value_head / (p.value_heads / p.key_heads);
}

/// One block of 128 threads a chunk and head of q, k or v: 16 threads a row, 8 rows each.
__global__ void __launch_bounds__(128) delta_prepare_kernel(const DeltaWork work) {
  const DeltaNetParams& p = work.p;
  const int head = blockIdx.x, column = threadIdx.x % 16, first = threadIdx.x / 16 * 8;
  const std::int64_t chunk = blockIdx.y, channels = (2 * p.key_heads + p.value_heads) * delta_head_dim;
  const std::int64_t channel = head * delta_head_dim + column * 8, row = chunk * delta_chunk_rows + first;
  const auto* const qkv = static_cast<const __nv_bfloat16*>(p.qkv) + channel;
  const auto* const before = static_cast<const __nv_bfloat16*>(p.before);
  uint4 seen[11];
#pragma unroll
  for (int i = 0; i < 11; ++i) {
    const std::int64_t at = row + i - 3;
    seen[i] = make_uint4(0, 0, 0, 0);
    if (at >= 0 && at < p.rows)
      seen[i] = *reinterpret_cast<const uint4*>(qkv + at * p.qkv_row);
    else if (at < 0 && before)
      seen[i] = *reinterpret_cast<const uint4*>(before + (at + 3) * channels + channel);
  }
  float weights[4][8];
#pragma unroll
  for (int place = 0; place < 4; ++place)
#pragma unroll
    for (int i = 0; i < 8; i += 4)
      *reinterpret_cast<float4*>(&weights[place][i]) =
          *reinterpret_cast<const float4*>(p.conv + place * channels + channel + i);
  const bool is_q = head < p.key_heads, is_v = head >= 2 * p.key_heads;
  char* const tile = is_q   ? work.q + (chunk * p.key_heads + head) * delta_tile_bytes
                     : is_v ? work.v + (chunk * p.value_heads + head - 2 * p.key_heads) * delta_tile_bytes
                            : work.k + (chunk * p.key_heads + head - p.key_heads) * delta_tile_bytes;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    float sums[8] = {};
#pragma unroll
    for (int place = 0; place < 4; ++place) {
      float values[8];
      widen(values, seen[i + place]);
#pragma unroll
      for (int j = 0; j < 8; ++j) sums[j] += values[j] * weights[place][j];
    }
    float squares = 0;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      sums[j] = silu(sums[j]);
      squares += sums[j] * sums[j];
    }
    if (!is_v) {
#pragma unroll
      for (int step = 8; step > 0; step /= 2) squares += __shfl_xor_sync(~0u, squares, step);
      const float scale = rsqrtf(squares + 1e-6f) * (is_q ? 0.08838834764831845f : 1.0f);
#pragma unroll
      for (int j = 0; j < 8; ++j) sums[j] *= scale;
    }
    uint4 piece =
        make_uint4(pack(sums[0], sums[1]), pack(sums[2], sums[3]), pack(sums[4], sums[5]), pack(sums[6], sums[7]));
    // Rows that are not there hold nothing and, without a rate, write nothing.
    if (row + i >= p.rows) piece = make_uint4(0, 0, 0, 0);
    const int in_chunk = first + i;
    *reinterpret_cast<uint4*>(tile + column / 8 * delta_panel_bytes + in_chunk * 128 +
                              ((column % 8 ^ (in_chunk & 7)) << 4)) = piece;
  }
}

/// 16 threads a row and head.
__global__ void __launch_bounds__(256) delta_gate_kernel(const DeltaGateParams p) {
  const std::int64_t part = static_cast<std::int64_t>(blockIdx.x) * 16 + threadIdx.x / 16;
  const std::int64_t parts = p.rows * p.value_heads;
  const std::int64_t at = part < parts ? part : parts - 1;  // the warp's shuffles want all of it
  const std::int64_t row = at / p.value_heads, column = at % p.value_heads * delta_head_dim + threadIdx.x % 16 * 8;
  float heads[8], gates[8];
  widen(heads,
        *reinterpret_cast<const uint4*>(static_cast<const __nv_bfloat16*>(p.heads) + row * p.heads_row + column));
  widen(gates, *reinterpret_cast<const uint4*>(static_cast<const __nv_bfloat16*>(p.gate) + row * p.gate_row + column));
  float squares = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) squares += heads[i] * heads[i];
#pragma unroll
  for (int step = 8; step > 0; step /= 2) squares += __shfl_xor_sync(~0u, squares, step);
  const float scale = rsqrtf(squares / delta_head_dim + p.epsilon);
  const float4 low = *reinterpret_cast<const float4*>(p.norm + threadIdx.x % 16 * 8);
  const float4 high = *reinterpret_cast<const float4*>(p.norm + threadIdx.x % 16 * 8 + 4);
  const float norm[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
  for (int i = 0; i < 8; ++i) heads[i] = heads[i] * scale * norm[i] * silu(gates[i]);
  if (part < parts)
    *reinterpret_cast<uint4*>(static_cast<__nv_bfloat16*>(p.out) + row * p.out_row + column) = make_uint4(
        pack(heads[0], heads[1]), pack(heads[2], heads[3]), pack(heads[4], heads[5]), pack(heads[6], heads[7]));
}

}  // namespace headroom::kernels::cuda
