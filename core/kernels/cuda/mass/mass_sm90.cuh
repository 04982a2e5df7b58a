// SPDX-License-Identifier: Apache-2.0
// Attention mass of 128 rows x 128 keys: for every head the scores once more, exp(scale q.k - log-sum-exp), added up in
// registers. Two warpgroups consume 64 rows each; a third brings q and k in tiles of 64 columns, k of a KV head once
// for its query heads. One block a multiprocessor goes from tile to tile, and its producer runs ahead over their
// borders.
#pragma once

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/pipeline.cuh"
#include "kernels/cuda/sparse_attention/wgmma.cuh"

namespace headroom::kernels::cuda {

struct MassConfig {
  static constexpr int threads = 384;
  static constexpr int rows = 128, keys = 128;
  static constexpr int chunk_bytes = 128 * 128;  ///< 128 rows or keys, 64 columns
  static constexpr int q_slots = 8, k_slots = 4;
  static constexpr int barrier_bytes = 2 * (q_slots + k_slots) * 8;
  static constexpr int shared_bytes = (q_slots + k_slots) * chunk_bytes + barrier_bytes + 1024;
  static constexpr int row_group = 8;  ///< row tiles that share keys in the second-level cache
};

/// Tiles in the order in which blocks take them: row_group row tiles a column of keys, columns, then the next rows.
struct MassTiles {
  std::int64_t row_tiles, key_tiles;
  __device__ explicit MassTiles(const MassParams& p)
      : row_tiles((p.rows + MassConfig::rows - 1) / MassConfig::rows),
        key_tiles((p.row_begin + p.rows + MassConfig::keys - 1) / MassConfig::keys) {}
  __device__ std::int64_t number() const {
    return (row_tiles + MassConfig::row_group - 1) / MassConfig::row_group * MassConfig::row_group * key_tiles;
  }
  __device__ std::int64_t row(std::int64_t tile) const {
    return tile / (MassConfig::row_group * key_tiles) * MassConfig::row_group + tile % MassConfig::row_group;
  }
  __device__ std::int64_t key(std::int64_t tile) const {
    return tile % (MassConfig::row_group * key_tiles) / MassConfig::row_group;
  }
};

struct MassShared {
  std::uint32_t base;
  __device__ std::uint32_t q(int slot) const { return base + slot * MassConfig::chunk_bytes; }
  __device__ std::uint32_t k(int slot) const { return q(MassConfig::q_slots + slot); }
  __device__ std::uint32_t q_full(int slot) const {
    return base + (MassConfig::q_slots + MassConfig::k_slots) * MassConfig::chunk_bytes + slot * 8;
  }
  __device__ std::uint32_t q_empty(int slot) const { return q_full(MassConfig::q_slots + slot); }
  __device__ std::uint32_t k_full(int slot) const { return q_full(2 * MassConfig::q_slots + slot); }
  __device__ std::uint32_t k_empty(int slot) const { return k_full(MassConfig::k_slots + slot); }
};

/// 128 rows of 64 columns into a swizzled tile, by the producer's threads; rows beyond the last repeat it.
__device__ __forceinline__ void load_chunk(std::uint32_t tile, const __nv_bfloat16* source, std::int64_t row_stride,
                                           std::int64_t first, std::int64_t limit) {
  const int thread = threadIdx.x & 127, piece = thread & 7;
#pragma unroll
  for (int pass = 0; pass < 8; ++pass) {
    const int row = pass * 16 + thread / 8;
    copy_16(tile + row * 128 + (piece ^ (row & 7)) * 16, source + min(first + row, limit - 1) * row_stride + piece * 8);
  }
}

template <int HeadDim>
__device__ __forceinline__ void produce_mass(const MassParams& p, const MassShared& shared) {
  constexpr int columns = HeadDim / 64;
  const MassTiles tiles(p);
  const int group = p.num_q_heads / p.num_kv_heads;
  const std::int64_t row_end = p.row_begin + p.rows;
  unsigned q_step = 0, k_step = 0;
  for (std::int64_t tile = blockIdx.x; tile < tiles.number(); tile += gridDim.x) {
    const std::int64_t row = p.row_begin + tiles.row(tile) * MassConfig::rows, key = tiles.key(tile) * MassConfig::keys;
    if (row >= row_end || key >= min(row + MassConfig::rows, row_end)) continue;
    for (int head = 0; head < p.num_q_heads; ++head) {
      const int kv = head / group;
      for (int column = 0; column < columns; ++column) {
        if (head % group == 0) {
          const int slot = k_step % MassConfig::k_slots;
          barrier_wait(shared.k_empty(slot), (k_step / MassConfig::k_slots & 1) ^ 1);
          load_chunk(shared.k(slot), static_cast<const __nv_bfloat16*>(p.k) + kv * p.k_head + column * 64, p.k_row, key,
                     row_end);
          barrier_arrive_copies(shared.k_full(slot));
          ++k_step;
        }
        const int slot = q_step % MassConfig::q_slots;
        barrier_wait(shared.q_empty(slot), (q_step / MassConfig::q_slots & 1) ^ 1);
        load_chunk(shared.q(slot), static_cast<const __nv_bfloat16*>(p.q) + head * p.q_head + column * 64, p.q_row, row,
                   row_end);
        barrier_arrive_copies(shared.q_full(slot));
        ++q_step;
      }
    }
  }
}

template <int HeadDim>
__device__ __forceinline__ void consume_mass(const MassParams& p, const MassShared& shared, int consumer) {
  constexpr int columns = HeadDim / 64;
  constexpr float log2e = 1.4426950408889634f;
  const MassTiles tiles(p);
  const int group = p.num_q_heads / p.num_kv_heads, lane = threadIdx.x & 31, warp = threadIdx.x >> 5 & 3;
  const std::int64_t row_end = p.row_begin + p.rows;
  const float scale_log2 = p.scale * log2e, share = 1.0f / static_cast<float>(p.num_q_heads);
  unsigned q_step = 0, k_step = 0;
  for (std::int64_t tile = blockIdx.x; tile < tiles.number(); tile += gridDim.x) {
    const std::int64_t first = p.row_begin + tiles.row(tile) * MassConfig::rows,
                       key = tiles.key(tile) * MassConfig::keys;
    if (first >= row_end) continue;
    const bool seen = key < min(first + MassConfig::rows, row_end);
    const std::int64_t row = first + consumer * 64 + warp * 16 + lane / 4;  // and the one 8 on
    float mass[64];
#pragma unroll
    for (int i = 0; i < 64; ++i) mass[i] = 0;
    for (int head = 0; seen && head < p.num_q_heads; ++head) {
      float base[2];
#pragma unroll
      for (int half = 0; half < 2; ++half)
        base[half] = __ldg(p.lse + head * p.lse_head + min(row + 8 * half, row_end - 1)) * log2e;
      float scores[64];
      fence_registers(scores);
#pragma unroll
      for (int column = 0; column < columns; ++column) {
        const unsigned q_at = q_step + column, k_at = k_step + column;
        const int q_slot = q_at % MassConfig::q_slots, k_slot = k_at % MassConfig::k_slots;
        if (head % group == 0) barrier_wait(shared.k_full(k_slot), k_at / MassConfig::k_slots & 1);
        barrier_wait(shared.q_full(q_slot), q_at / MassConfig::q_slots & 1);
        fence_copies();
        warpgroup_arrive();
#pragma unroll
        for (int part = 0; part < 4; ++part)
          mma_scores(scores, tile_descriptor(shared.q(q_slot) + consumer * 8192 + part * 32, 16),
                     tile_descriptor(shared.k(k_slot) + part * 32, 16), column + part > 0);
        warpgroup_commit();
        if (column > 0) {
          warpgroup_wait<1>();
          if (lane == 0) barrier_arrive(shared.q_empty((q_at - 1) % MassConfig::q_slots));
        }
      }
      warpgroup_wait<0>();
      fence_registers(scores);
      if (lane == 0) {
        barrier_arrive(shared.q_empty((q_step + columns - 1) % MassConfig::q_slots));
        if (head % group == group - 1)
#pragma unroll
          for (int column = 0; column < columns; ++column)
            barrier_arrive(shared.k_empty((k_step + column) % MassConfig::k_slots));
      }
      q_step += columns;
      if (head % group == group - 1) k_step += columns;
#pragma unroll
      for (int i = 0; i < 64; ++i) mass[i] += power_of_2(fmaf(scores[i], scale_log2, -base[(i & 2) / 2]));
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::int64_t position = row + 8 * half;
      if (position >= row_end) continue;
      float* to = p.mass + (position - p.row_begin) * p.mass_row;
#pragma unroll
      for (int j = 0; j < 16; ++j) {
        const std::int64_t at = key + 8 * j + 2 * (lane & 3);
        if (at < p.mass_row)
          *reinterpret_cast<float2*>(to + at) =
              make_float2(at <= position ? mass[4 * j + 2 * half] * share : 0.0f,
                          at + 1 <= position ? mass[4 * j + 2 * half + 1] * share : 0.0f);
      }
    }
  }
}

template <int HeadDim>
__global__ void __launch_bounds__(384, 1) mass_kernel(const MassParams p) {
#ifndef HEADROOM_NO_WGMMA
  extern __shared__ char shared_bytes[];
  const MassShared shared{(shared_address(shared_bytes) + 1023) & ~1023u};
  if (threadIdx.x == 0) {
    for (int slot = 0; slot < MassConfig::q_slots; ++slot) {
      barrier_init(shared.q_full(slot), 128);
      barrier_init(shared.q_empty(slot), 8);
    }
    for (int slot = 0; slot < MassConfig::k_slots; ++slot) {
      barrier_init(shared.k_full(slot), 128);
      barrier_init(shared.k_empty(slot), 8);
    }
    asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
  }
  __syncthreads();
  if (threadIdx.x >= 256) {
    fewer_registers<88>();
    produce_mass<HeadDim>(p, shared);
    copy_commit();
    copy_wait<0>();
  } else {
    more_registers<208>();
    consume_mass<HeadDim>(p, shared, static_cast<int>(threadIdx.x / 128));
  }
#endif
}

/// Scores of blocks of rows, a thread a key.
__global__ void __launch_bounds__(256) block_sums_kernel(const BlockSumParams p) {
  const std::int64_t key = static_cast<std::int64_t>(blockIdx.x) * 256 + threadIdx.x,
                     first = blockIdx.y * p.shared_rows;
  const std::int64_t end = min(first + p.shared_rows, p.rows);
  if (key >= p.row_begin + end) return;
  constexpr float lowest = -3.402823466e38f;
  double sum = 0;
  for (std::int64_t row = max(first, key - p.row_begin); row < end; ++row) {
    const float score = p.scores[row * p.row_stride + key];
    sum += score != score ? lowest : score;
  }
  p.sums[blockIdx.y * p.row_stride + key] = static_cast<float>(sum);
}

}  // namespace headroom::kernels::cuda
