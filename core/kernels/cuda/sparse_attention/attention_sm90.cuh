// SPDX-License-Identifier: Apache-2.0
// Sparse attention over unions of 16 queries on Hopper, for supports so different that 32 of them (attention_wide_sm90.cuh)
// share too little. A block holds 16 queries x up to 4 heads of one KV head, the 64 rows of a
// warpgroup product, and walks its union 64 keys at a time: K and V rows are gathered by 16-byte asynchronous copies into
// swizzled tiles, keys that a query does not have are set to -infinity by its bit. K of the next step loads while V of this
// one is waited for and the other way round; two blocks a multiprocessor hide the rest.
#pragma once

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/pipeline.cuh"
#include "kernels/cuda/sparse_attention/wgmma.cuh"

namespace headroom::kernels::cuda {

template <int HeadDim>
struct AttentionConfig {
  static constexpr int threads = 128;
  static constexpr int rows = 64;         ///< 16 queries x 4 heads
  static constexpr int keys = 64;         ///< a step
  static constexpr int tile_bytes = 8192; ///< 64 rows x 64 columns of bf16
  static constexpr int tiles = HeadDim / 64;
  static constexpr int q_bytes = tiles * tile_bytes, k_bytes = q_bytes, v_bytes = q_bytes;
  static constexpr int shared_bytes = q_bytes + k_bytes + v_bytes + 1024;  ///< and room to align
};

/// Gathers 64 rows of `source` into a swizzled tile row: 16-byte pieces, neighbouring threads neighbouring pieces.
template <int HeadDim>
__device__ __forceinline__ void gather(std::uint32_t tile, const __nv_bfloat16* source, std::int64_t row_stride,
                                       const std::int32_t* keys) {
  constexpr int pieces = HeadDim / 8, per_pass = AttentionConfig<HeadDim>::threads / pieces;
  const int piece = threadIdx.x % pieces, lane_row = threadIdx.x / pieces;
  const std::uint32_t column = tile + (piece / 8) * AttentionConfig<HeadDim>::tile_bytes;
#pragma unroll
  for (int pass = 0; pass < 64 / per_pass; ++pass) {
    const int row = pass * per_pass + lane_row;
    copy_16(column + row * 128 + ((piece & 7) ^ (row & 7)) * 16, source + __ldg(keys + row) * row_stride + piece * 8);
  }
}

template <int HeadDim>
__device__ __forceinline__ void mma_values(float (&d)[HeadDim / 2], const std::uint32_t (&a)[4], std::uint64_t b) {
  if constexpr (HeadDim == 64) mma_n64(d, a, b);
  if constexpr (HeadDim == 128) mma_n128(d, a, b);
  if constexpr (HeadDim == 256) mma_n256(d, a, b);
}

template <int HeadDim>
__global__ void __launch_bounds__(128, HeadDim == 256 ? 2 : HeadDim == 128 ? 3 : 4) sparse_attention_kernel(const SparseAttentionParams p) {
#ifndef HEADROOM_NO_WGMMA
  using Config = AttentionConfig<HeadDim>;
  extern __shared__ char shared_bytes[];
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const std::uint32_t shared = (static_cast<std::uint32_t>(__cvta_generic_to_shared(shared_bytes)) + 1023) & ~1023u;
  const std::uint32_t q_tile = shared, k_tile = q_tile + Config::q_bytes, v_tile = k_tile + Config::k_bytes;

  const int group = p.num_q_heads / p.num_kv_heads, splits = (group + 3) / 4;
  const int kv_head = blockIdx.y / splits, first_head = blockIdx.y % splits * 4;
  const int heads = min(4, group - first_head);
  // The longest tiles first: they come from the end of the prompt.
  const std::int64_t tile = gridDim.x - 1 - blockIdx.x;
  const int size = p.unions.half_sizes[tile];
  if (size < 0) return;  // attended to with its neighbour
  const std::int64_t first_row = p.unions.row_begin + tile * half_union_rows;
  const int queries = static_cast<int>(min(p.unions.rows - tile * half_union_rows, half_union_rows));
  if (queries <= 0) return;
  const std::int32_t* keys = p.unions.half_keys + tile * p.unions.half_capacity;
  const std::uint32_t* members = p.unions.half_members + tile * p.unions.half_capacity;
  const int steps = (size + 63) / 64;
  const auto* k = static_cast<const __nv_bfloat16*>(p.k) + kv_head * p.k_head;
  const auto* v = static_cast<const __nv_bfloat16*>(p.v) + kv_head * p.v_head;

  // Row 16 h + r of the tile is query r of head h; rows that there are not repeat one that there is.
  {
    constexpr int pieces = HeadDim / 8, per_pass = 128 / pieces;
    const int piece = threadIdx.x % pieces, lane_row = threadIdx.x / pieces;
    const auto* q = static_cast<const __nv_bfloat16*>(p.q);
#pragma unroll
    for (int pass = 0; pass < 64 / per_pass; ++pass) {
      const int row = pass * per_pass + lane_row;
      const int head = kv_head * group + first_head + min(row / 16, heads - 1), query = min(row % 16, queries - 1);
      copy_16(q_tile + (piece / 8) * Config::tile_bytes + row * 128 + ((piece & 7) ^ (row & 7)) * 16,
              q + head * p.q_head + (first_row + query) * p.q_row + piece * 8);
    }
  }
  if (steps > 0) gather<HeadDim>(k_tile, k, p.k_row, keys);
  copy_commit();
  if (steps > 0) gather<HeadDim>(v_tile, v, p.v_row, keys);
  copy_commit();

  float out[HeadDim / 2];
#pragma unroll
  for (int i = 0; i < HeadDim / 2; ++i) out[i] = 0;
  constexpr float minus_infinity = -__builtin_huge_valf();
  float largest[2] = {minus_infinity, minus_infinity}, sum[2] = {0, 0};
  const float scale_log2 = p.scale * 1.4426950408889634f;
  const int query = lane / 4;

  for (int step = 0; step < steps; ++step) {
    copy_wait<1>();
    __syncthreads();
    float scores[32];
    warpgroup_arrive();
#pragma unroll
    for (int part = 0; part < HeadDim / 16; ++part) {
      const std::uint32_t at = (part / 4) * Config::tile_bytes + (part & 3) * 32;
      mma_scores(scores, tile_descriptor(q_tile + at, 16), tile_descriptor(k_tile + at, 16), part > 0);
    }
    warpgroup_commit();
    warpgroup_wait<0>();
    fence_registers(scores);
    __syncthreads();
    if (step + 1 < steps) gather<HeadDim>(k_tile, k, p.k_row, keys + (step + 1) * 64);
    copy_commit();

    // Two keys' members a load: key 8 i + 2 (lane % 4), then the next.
    const auto* pairs = reinterpret_cast<const uint2*>(members + step * 64) + (lane & 3);
    float most[2] = {minus_infinity, minus_infinity};
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const uint2 bits = __ldg(pairs + 4 * i);
      if (!(bits.x >> query & 1u)) scores[4 * i] = minus_infinity;
      if (!(bits.y >> query & 1u)) scores[4 * i + 1] = minus_infinity;
      if (!(bits.x >> query & 256u)) scores[4 * i + 2] = minus_infinity;
      if (!(bits.y >> query & 256u)) scores[4 * i + 3] = minus_infinity;
      most[0] = fmaxf(most[0], fmaxf(scores[4 * i], scores[4 * i + 1]));
      most[1] = fmaxf(most[1], fmaxf(scores[4 * i + 2], scores[4 * i + 3]));
    }
    float shrink[2], base[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      most[half] = fmaxf(most[half], __shfl_xor_sync(0xffffffffu, most[half], 1));
      most[half] = fmaxf(most[half], __shfl_xor_sync(0xffffffffu, most[half], 2));
      const float now = fmaxf(largest[half], most[half]);
      base[half] = now == minus_infinity ? 0.0f : now * scale_log2;
      shrink[half] = power_of_2(largest[half] * scale_log2 - base[half]);
      largest[half] = now;
      sum[half] *= shrink[half];
    }
    std::uint32_t probabilities[4][4];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      float values[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        values[j] = power_of_2(fmaf(scores[4 * i + j], scale_log2, -base[j / 2]));
        sum[j / 2] += values[j];
      }
      probabilities[i / 2][(i & 1) * 2] = pack(values[0], values[1]);
      probabilities[i / 2][(i & 1) * 2 + 1] = pack(values[2], values[3]);
    }
    if (__any_sync(0xffffffffu, shrink[0] != 1.0f || shrink[1] != 1.0f)) {
#pragma unroll
      for (int i = 0; i < HeadDim / 2; ++i) out[i] *= shrink[(i & 2) / 2];
    }
    copy_wait<1>();
    __syncthreads();
    fence_registers(out);
    warpgroup_arrive();
#pragma unroll
    for (int part = 0; part < 4; ++part)
      mma_values<HeadDim>(out, probabilities[part], tile_descriptor(v_tile + part * 2048, Config::tile_bytes));
    warpgroup_commit();
    warpgroup_wait<0>();
    fence_registers(out);
    __syncthreads();
    if (step + 1 < steps) gather<HeadDim>(v_tile, v, p.v_row, keys + (step + 1) * 64);
    copy_commit();
  }
  copy_wait<0>();

#pragma unroll
  for (int half = 0; half < 2; ++half) {
    sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 1);
    sum[half] += __shfl_xor_sync(0xffffffffu, sum[half], 2);
    const int row = query + 8 * half;
    if (warp >= heads || row >= queries) continue;
    const int head = kv_head * group + first_head + warp;
    const float share = sum[half] == 0 ? 0.0f : 1.0f / sum[half];
    auto* to = static_cast<__nv_bfloat16*>(p.out) + head * p.out_head + (first_row + row) * p.out_row + 2 * (lane & 3);
#pragma unroll
    for (int i = 0; i < HeadDim / 8; ++i)
      *reinterpret_cast<std::uint32_t*>(to + 8 * i) =
          pack(out[4 * i + 2 * half] * share, out[4 * i + 2 * half + 1] * share);
    if (p.lse && (lane & 3) == 0)
      p.lse[head * p.length + first_row + row] =
          sum[half] == 0 ? minus_infinity : largest[half] * p.scale + logf(sum[half]);
  }
#endif
}

}  // namespace headroom::kernels::cuda
