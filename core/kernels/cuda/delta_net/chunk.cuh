// SPDX-License-Identifier: Apache-2.0
// What the rows of a chunk do to each other, all chunks and heads at once: gates and their sums, the triangle of
// decayed products of keys, its inverse, and the decayed scores of queries.
#pragma once

#include <cuda_bf16.h>

#include "kernels/cuda/delta_net/prepare.cuh"
#include "kernels/cuda/delta_net/products.cuh"
#include "kernels/cuda/delta_net/tiles.cuh"

namespace headroom::kernels::cuda {

inline constexpr float delta_log2_e = 1.4426950408889634f;

__device__ __forceinline__ float softplus(float x) {
  return x > 20 ? x : log1pf(__expf(x));
}

/// Sums of log-decays (in powers of 2) and rates of the chunk's rows, by one warp; factors go to the workspace.
__device__ __forceinline__ void delta_gates(const DeltaWork& work, int head, std::int64_t chunk, float* sums,
                                            float* rates) {
  const DeltaNetParams& p = work.p;
  const int lane = threadIdx.x % 32;
  const auto* const gates = static_cast<const __nv_bfloat16*>(p.rates) + head;
  const float decay = p.decay[head] * delta_log2_e, time = p.time[head];
  float own[2], rate[2];
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const std::int64_t row = chunk * delta_chunk_rows + 2 * lane + i;
    own[i] = rate[i] = 0;
    if (row < p.rows) {
      rate[i] = __fdividef(1.0f, 1 + __expf(-__bfloat162float(gates[row * p.rates_row])));
      own[i] = decay * softplus(__bfloat162float(gates[row * p.rates_row + p.value_heads]) + time);
    }
  }
  float sum = own[0] + own[1];
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const float below = __shfl_up_sync(~0u, sum, step);
    if (lane >= step) sum += below;
  }
  const float last = __shfl_sync(~0u, sum, 31);
  float before = __shfl_up_sync(~0u, sum, 1);
  if (lane == 0) before = 0;
  const float first = before + own[0];
  sums[2 * lane] = first;
  sums[2 * lane + 1] = sum;
  rates[2 * lane] = rate[0];
  rates[2 * lane + 1] = rate[1];
  auto* const factors = reinterpret_cast<float2*>(work.factors + (chunk * p.value_heads + head) * 192);
  factors[lane] = make_float2(power_of_2(first), power_of_2(sum));
  factors[32 + lane] = make_float2(rate[0], rate[1]);
  factors[64 + lane] = make_float2(power_of_2(last - first), power_of_2(last - sum));
}

/// Row block `block` of the inverse X of the chunk's unit triangle A, from its diagonal blocks X_jj and A below them,
/// both as sums of two bf16 in the panels: X_ij = -(sum over k in (j, i] of X_ik A_kj) X_jj. Parts: the block's tiles
/// from the diagonal to the left, as left sides of products.
__device__ __forceinline__ void delta_inverse_rows(std::uint32_t high, std::uint32_t low, int block, int lane,
                                                   std::uint32_t (&parts)[4][4]) {
  const int matrix = lane / 8, in_matrix = lane % 8;
  std::uint32_t rests[4][4];
  {
    const int row = 16 * block + matrix % 2 * 8 + in_matrix, piece = 2 * block + matrix / 2;
    load_matrices(parts[0], panel_piece(high, row, piece));
    load_matrices(rests[0], panel_piece(low, row, piece));
  }
  // d[2 tiles of 8 columns] += (left + rest) of tile (row_tile, column_tile), but for the product of both rests.
  const auto multiply = [&](float(&d)[2][4], const std::uint32_t(&left)[4], const std::uint32_t(&rest)[4], int row_tile,
                            int column_tile) {
    std::uint32_t b[4], b_rest[4];
    const int row = 16 * row_tile + matrix % 2 * 8 + in_matrix, piece = 2 * column_tile + matrix / 2;
    load_turned(b, panel_piece(high, row, piece));
    load_turned(b_rest, panel_piece(low, row, piece));
#pragma unroll
    for (int tile = 0; tile < 2; ++tile) {
      mma_16x8(d[tile], left, b[2 * tile], b[2 * tile + 1]);
      mma_16x8(d[tile], left, b_rest[2 * tile], b_rest[2 * tile + 1]);
      mma_16x8(d[tile], rest, b[2 * tile], b[2 * tile + 1]);
    }
  };
  const auto split = [](const float(&d)[2][4], std::uint32_t(&left)[4], std::uint32_t(&rest)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const SplitPair pair = split_pair(d[i / 2][i % 2 * 2], d[i / 2][i % 2 * 2 + 1]);
      left[i] = pair.high;
      rest[i] = pair.low;
    }
  };
#pragma unroll
  for (int step = 1; step < 4; ++step) {
    if (step > block) break;
    float sum[2][4] = {}, product[2][4] = {};
#pragma unroll
    for (int back = 0; back < step; ++back) multiply(sum, parts[back], rests[back], block - back, block - step);
    std::uint32_t left[4], rest[4];
    split(sum, left, rest);
    multiply(product, left, rest, block - step, block - step);
#pragma unroll
    for (int i = 0; i < 4; ++i) product[0][i] = -product[0][i], product[1][i] = -product[1][i];
    split(product, parts[step], rests[step]);
  }
}

/// One block a value head and chunk; each warp 16 of its rows.
__global__ void __launch_bounds__(DeltaChunkConfig::threads) delta_chunk_kernel(const DeltaWork work) {
  using Config = DeltaChunkConfig;
  extern __shared__ __align__(128) char shared_bytes[];
  const DeltaNetParams& p = work.p;
  const int head = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int matrix = lane / 8, in_matrix = lane % 8, g = lane / 4, t = lane % 4;
  const std::int64_t chunk = blockIdx.y;
  const std::uint32_t shared = shared_address(shared_bytes);
  const std::uint32_t high = shared + Config::high, low = shared + Config::low;
  float* const diagonal = reinterpret_cast<float*>(shared_bytes + Config::diagonal) + warp * 256;
  float* const sums = reinterpret_cast<float*>(shared_bytes + Config::sums);
  float* const rates = reinterpret_cast<float*>(shared_bytes + Config::rates);
  {
    const std::int64_t tile = (chunk * p.key_heads + delta_key_head(p, head)) * delta_tile_bytes;
    for (int at = threadIdx.x * 16; at < delta_tile_bytes; at += Config::threads * 16) {
      copy_16(shared + Config::k + at, work.k + tile + at);
      copy_16(shared + Config::q + at, work.q + tile + at);
    }
    copy_commit();
  }
  if (warp == 0) delta_gates(work, head, chunk, sums, rates);
  copy_wait<0>();
  __syncthreads();

  // Products of 16 rows with the keys up to them.
  float keys[8][4] = {}, queries[8][4] = {};
#pragma unroll
  for (int part = 0; part < 8; ++part) {
    const std::uint32_t panel = part / 4 * delta_panel_bytes;
    std::uint32_t of_k[4], of_q[4];
    const int row = 16 * warp + matrix % 2 * 8 + in_matrix, piece = part % 4 * 2 + matrix / 2;
    load_matrices(of_k, panel_piece(shared + Config::k + panel, row, piece));
    load_matrices(of_q, panel_piece(shared + Config::q + panel, row, piece));
#pragma unroll
    for (int pair = 0; pair < 4; ++pair) {
      if (pair > warp) break;
      std::uint32_t b[4];
      load_matrices(b, panel_piece(shared + Config::k + panel, 16 * pair + matrix / 2 * 8 + in_matrix,
                                   part % 4 * 2 + matrix % 2));
      mma_16x8(keys[2 * pair], of_k, b[0], b[1]);
      mma_16x8(keys[2 * pair + 1], of_k, b[2], b[3]);
      mma_16x8(queries[2 * pair], of_q, b[0], b[1]);
      mma_16x8(queries[2 * pair + 1], of_q, b[2], b[3]);
    }
  }

  // Decayed; the triangle into the panels (its diagonal block in fp32), scores kept until k and q are done with.
  std::uint32_t scores[8][2];
#pragma unroll
  for (int tile = 0; tile < 8; ++tile) {
    const bool on_diagonal = tile / 2 == warp;
    const int column = 8 * tile + 2 * t;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = 16 * warp + g + 8 * half;
      float triangle[2], score[2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float left = power_of_2(sums[row] - sums[column + i]);
        triangle[i] = column + i < row ? keys[tile][2 * half + i] * left * rates[row] : 0;
        score[i] = column + i <= row ? queries[tile][2 * half + i] * left : 0;
      }
      scores[tile][half] = pack(score[0], score[1]);
      if (on_diagonal) {
        diagonal[(g + 8 * half) * 16 + column % 16] = triangle[0];
        diagonal[(g + 8 * half) * 16 + column % 16 + 1] = triangle[1];
      } else if (tile / 2 < warp) {
        const SplitPair pair = split_pair(triangle[0], triangle[1]);
        store_shared(panel_piece(high, row, tile) + 4 * t, pair.high);
        store_shared(panel_piece(low, row, tile) + 4 * t, pair.low);
      }
    }
  }
  __syncwarp();

  {  // The diagonal block's inverse, a column a lane, by substitution; both halves of the warp the same.
    float column[16];
#pragma unroll
    for (int row = 0; row < 16; ++row) {
      float sum = row == lane % 16 ? 1 : 0;
#pragma unroll
      for (int before = 0; before < row; ++before) sum -= diagonal[row * 16 + before] * column[before];
      column[row] = sum;
    }
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      if (i / 8 != lane / 16) continue;
      const SplitPair pair = split_pair(column[i], 0);
      const std::uint32_t at = (lane % 8) * 2;
      store_shared_half(panel_piece(high, 16 * warp + i, 2 * warp + lane % 16 / 8) + at, pair.high & 0xffff);
      store_shared_half(panel_piece(low, 16 * warp + i, 2 * warp + lane % 16 / 8) + at, pair.low & 0xffff);
    }
  }
  __syncthreads();  // from here on the room of k and q is free

  std::uint32_t parts[4][4] = {};
  delta_inverse_rows(high, low, warp, lane, parts);
  const std::uint32_t inverse = shared + Config::k, ready_scores = inverse + delta_panel_bytes;
#pragma unroll
  for (int pair = 0; pair < 4; ++pair)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      // Rows g and g + 8, columns 2 t of both halves of a tile of 16; nothing above the diagonal.
      const int row = 16 * warp + g + i % 2 * 8;
      std::uint32_t value = 0;
#pragma unroll
      for (int back = 0; back < 4; ++back)
        if (pair + back == warp) value = parts[back][i];
      store_shared(panel_piece(inverse, row, 2 * pair + i / 2) + 4 * t, value);
      store_shared(panel_piece(ready_scores, row, 2 * pair + i / 2) + 4 * t, scores[2 * pair + i / 2][i % 2]);
    }
  __syncwarp();
  const std::int64_t panel = (chunk * p.value_heads + head) * delta_panel_bytes;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int at = warp * 2048 + i * 512 + lane * 16;
    *reinterpret_cast<uint4*>(work.inverse + panel + at) = load_shared(inverse + at);
    *reinterpret_cast<uint4*>(work.scores + panel + at) = load_shared(ready_scores + at);
  }
}

}  // namespace headroom::kernels::cuda
