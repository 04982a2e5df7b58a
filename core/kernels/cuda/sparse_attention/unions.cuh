// SPDX-License-Identifier: Apache-2.0
// Unions of neighbouring queries' supports: a bitmap of the keys in shared memory, ranks by counting its bits, and for
// each key of the union a bit for every query that has it. One block a tile of 16 queries.
#pragma once

#include "kernels/cuda/cuda_kernels.h"

namespace headroom::kernels::cuda {

inline constexpr int union_threads = 256;

/// Exclusive prefix sum over the block's threads; `total` gets the sum. Every thread calls it.
template <int Threads>
__device__ __forceinline__ int block_prefix(int value, int& total, int* warp_sums) {
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  int inclusive = value;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(0xffffffffu, inclusive, step);
    if (lane >= step) inclusive += other;
  }
  if (lane == 31) warp_sums[warp] = inclusive;
  __syncthreads();
  int before = 0;
  total = 0;
#pragma unroll
  for (int i = 0; i < Threads / 32; ++i) {
    if (i < warp) before += warp_sums[i];
    total += warp_sums[i];
  }
  __syncthreads();
  return before + inclusive - value;
}

__global__ void __launch_bounds__(union_threads) union_kernel(UnionParams p) {
  extern __shared__ std::uint32_t shared_words[];
  __shared__ int warp_sums[union_threads / 32];
  const std::int64_t tile = blockIdx.x, first = tile * union_rows;
  const int rows = static_cast<int>(min(p.rows - first, union_rows));
  const std::int64_t visible = p.row_begin + first + rows;  // keys that the tile's last row sees
  const int groups = static_cast<int>((visible + 255) / 256);
  std::uint32_t* bits = shared_words;                               // [groups * 8]
  int* ranks = reinterpret_cast<int*>(bits + groups * 8);           // [groups] keys before the group
  std::uint32_t* members = reinterpret_cast<std::uint32_t*>(ranks + groups);  // [capacity / 2] pairs of 16 bits
  const int capacity = static_cast<int>(p.capacity);
  for (int i = threadIdx.x; i < groups * 8; i += union_threads) bits[i] = 0;
  for (int i = threadIdx.x; i < capacity / 2; i += union_threads) members[i] = 0;
  __syncthreads();
  for (int row = 0; row < rows; ++row) {
    const std::int32_t* keys = p.indices + (first + row) * p.width;
    const int count = p.counts[first + row];
    for (int i = threadIdx.x; i < count; i += union_threads) atomicOr(bits + (keys[i] >> 5), 1u << (keys[i] & 31));
  }
  __syncthreads();
  const int each = (groups + union_threads - 1) / union_threads;
  const int from = min(static_cast<int>(threadIdx.x) * each, groups), to = min(from + each, groups);
  int own = 0;
  for (int word = from * 8; word < to * 8; ++word) own += __popc(bits[word]);
  int size = 0;
  int rank = block_prefix<union_threads>(own, size, warp_sums);
  std::int32_t* out = p.keys + tile * p.capacity;
  for (int group = from; group < to; ++group) {
    ranks[group] = rank;
    for (int word = group * 8; word < group * 8 + 8; ++word)
      for (std::uint32_t left = bits[word]; left != 0; left &= left - 1) out[rank++] = word * 32 + __ffs(left) - 1;
  }
  __syncthreads();
  for (int row = 0; row < rows; ++row) {
    const std::int32_t* keys = p.indices + (first + row) * p.width;
    const int count = p.counts[first + row];
    for (int i = threadIdx.x; i < count; i += union_threads) {
      const int key = keys[i], word = key >> 5;
      int place = ranks[key >> 8];
      for (int before = word & ~7; before < word; ++before) place += __popc(bits[before]);
      place += __popc(bits[word] & ((1u << (key & 31)) - 1));
      atomicOr(members + (place >> 1), 1u << (row + 16 * (place & 1)));
    }
  }
  __syncthreads();
  const int padded = (size + 63) / 64 * 64;
  std::uint32_t* to_members = reinterpret_cast<std::uint32_t*>(p.members + tile * p.capacity);
  for (int i = threadIdx.x; i < padded / 2; i += union_threads) to_members[i] = members[i];
  for (int i = size + static_cast<int>(threadIdx.x); i < padded; i += union_threads) out[i] = 0;
  if (threadIdx.x == 0) p.sizes[tile] = size;
}

}  // namespace headroom::kernels::cuda
