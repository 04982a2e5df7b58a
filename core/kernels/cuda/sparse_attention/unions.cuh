// SPDX-License-Identifier: Apache-2.0
// Unions of 32 neighbouring queries' supports, with a bit for every query that has the key. One block a tile walks the
// context in windows: a bitmap for each row in shared memory, their union word by word, and one ballot a key turns the
// column of 32 bits into the key's members. Where two unions of 16 queries cost less than one of 32, the list is split.
#pragma once

#include "kernels/cuda/cuda_kernels.h"

namespace headroom::kernels::cuda {

struct UnionConfig {
  static constexpr int threads = 512;
  static constexpr int warps = threads / 32;
  static constexpr int words = 512;        ///< of a row's bitmap: a window of 16,384 keys
  static constexpr int pitch = words + 1;  ///< rows begin in different banks
  static constexpr int rows_per_warp = static_cast<int>(union_rows) / warps;
  static constexpr int shared_bytes = static_cast<int>(union_rows) * pitch * 4;
};

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

/// The members of 16 of the tile's queries as a union of its own; returns its size. The block calls it.
__device__ __forceinline__ int split_union(const std::int32_t* keys, const std::uint32_t* members, int size, int half,
                                           std::int32_t* to_keys, std::uint32_t* to_members, int* warp_sums) {
  int written = 0;
  for (int begin = 0; begin < size; begin += UnionConfig::threads) {
    const int i = begin + static_cast<int>(threadIdx.x);
    const std::uint32_t own = i < size ? members[i] >> 16 * half & 0xffffu : 0;
    int total = 0;
    const int place = written + block_prefix<UnionConfig::threads>(own != 0, total, warp_sums);
    if (own != 0) {
      to_keys[place] = keys[i];
      to_members[place] = own;
    }
    written += total;
  }
  return written;
}

/// Fills a union up to whole steps of the kernels with a key of no row.
__device__ __forceinline__ void pad_union(std::int32_t* keys, std::uint32_t* members, int size) {
  const int padded = (size + union_padding - 1) / union_padding * union_padding;
  for (int i = size + static_cast<int>(threadIdx.x); i < padded; i += UnionConfig::threads) {
    keys[i] = 0;
    members[i] = 0;
  }
}

/// Of each 32 keys: from a word a key with a bit for each query to a word a query with a bit for each key.
__device__ __forceinline__ void transpose_members(std::uint32_t* members, int size) {
  const int lane = threadIdx.x & 31, padded = (size + union_padding - 1) / union_padding * union_padding;
  for (int begin = static_cast<int>(threadIdx.x) - lane; begin < padded; begin += UnionConfig::threads) {
    std::uint32_t own = members[begin + lane];
    std::uint32_t kept = 0x0000ffffu;  // bits without `step` in their number
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
      const std::uint32_t other = __shfl_xor_sync(0xffffffffu, own, step);
      own = lane & step ? (own & ~kept) | (other >> step & kept) : (own & kept) | (other << step & ~kept);
      kept ^= kept << step / 2;
    }
    members[begin + lane] = own;
  }
}

__global__ void __launch_bounds__(UnionConfig::threads) union_kernel(const UnionParams p) {
  using Config = UnionConfig;
  extern __shared__ std::uint32_t shared_words[];
  __shared__ int warp_sums[Config::warps];
  std::uint32_t* bits = shared_words;  // [32, pitch]
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const std::int64_t tile = gridDim.x - 1 - blockIdx.x, first = tile * union_rows;
  const int rows = static_cast<int>(min(p.rows - first, static_cast<std::int64_t>(union_rows)));
  const int visible = static_cast<int>(p.row_begin + first) + rows;  // keys that the tile's last row sees
  std::int32_t* out_keys = p.keys + tile * p.capacity;
  std::uint32_t* out_members = p.members + tile * p.capacity;

  int cursor[Config::rows_per_warp] = {};
  int size = 0, low_keys = 0, high_keys = 0;
  for (int window = 0; window < visible; window += Config::words * 32) {
    const int window_end = window + Config::words * 32;
    for (int i = threadIdx.x; i < static_cast<int>(union_rows) * Config::pitch; i += Config::threads) bits[i] = 0;
    __syncthreads();
#pragma unroll
    for (int r = 0; r < Config::rows_per_warp; ++r) {
      const int row = warp * Config::rows_per_warp + r;
      if (row >= rows) continue;
      const std::int32_t* keys = p.indices + (first + row) * p.width;
      const int count = p.counts[first + row];
      for (int taken = 128; taken == 128;) {
        int key[4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const int i = cursor[r] + 32 * j + lane;
          key[j] = i < count ? __ldg(keys + i) : 0x7fffffff;
        }
        taken = 0;
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const bool here = key[j] < window_end;
          if (here) atomicOr(bits + row * Config::pitch + ((key[j] - window) >> 5), 1u << (key[j] & 31));
          taken += __popc(__ballot_sync(0xffffffffu, here));
        }
        cursor[r] += taken;
      }
    }
    __syncthreads();
    std::uint32_t low = 0, high = 0;
#pragma unroll
    for (int row = 0; row < 16; ++row) {
      low |= bits[row * Config::pitch + threadIdx.x];
      high |= bits[(16 + row) * Config::pitch + threadIdx.x];
    }
    low_keys += __popc(low);
    high_keys += __popc(high);
    int total = 0;
    const std::uint32_t either = low | high;
    const int place = size + block_prefix<Config::threads>(__popc(either), total, warp_sums);
    for (int word = 0; word < 32; ++word) {  // this warp's 32 words, their 32 rows a lane each
      const std::uint32_t some = __shfl_sync(0xffffffffu, either, word);
      if (some == 0) continue;
      const int to = __shfl_sync(0xffffffffu, place, word);
      const std::uint32_t own = bits[lane * Config::pitch + warp * 32 + word];
      std::uint32_t members = 0;
      int key = 0, n = 0;
      for (std::uint32_t left = some; left != 0; left &= left - 1, ++n) {
        const int bit = __ffs(left) - 1;
        const std::uint32_t column = __ballot_sync(0xffffffffu, own >> bit & 1u);
        if (lane == n) {
          members = column;
          key = bit;
        }
      }
      if (lane < n) {
        out_keys[to + lane] = window + (warp * 32 + word) * 32 + key;
        out_members[to + lane] = members;
      }
    }
    size += total;
    __syncthreads();
  }
  int low_size = 0, high_size = 0;
  block_prefix<Config::threads>(low_keys, low_size, warp_sums);
  block_prefix<Config::threads>(high_keys, high_size, warp_sums);
  // 64 rows over both halves' keys at the rate of one kernel, 128 rows over all keys at the rate of the other.
  const bool halves = static_cast<float>(low_size + high_size) * p.wide_rate < 2 * static_cast<float>(size);
  if (!halves) {
    pad_union(out_keys, out_members, size);
    __syncthreads();
    transpose_members(out_members, size);
  } else {
    for (int half = 0; half < 2; ++half) {
      std::int32_t* keys = p.half_keys + (2 * tile + half) * p.half_capacity;
      std::uint32_t* members = p.half_members + (2 * tile + half) * p.half_capacity;
      const int own = split_union(out_keys, out_members, size, half, keys, members, warp_sums);
      pad_union(keys, members, own);
    }
  }
  if (threadIdx.x == 0) {
    p.sizes[tile] = halves ? -1 : size;
    p.half_sizes[2 * tile] = halves ? low_size : -1;
    p.half_sizes[2 * tile + 1] = halves ? high_size : -1;
  }
}

}  // namespace headroom::kernels::cuda
