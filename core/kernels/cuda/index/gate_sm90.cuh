// SPDX-License-Identifier: Apache-2.0
// Index scores q.k on the tensor cores, a block 128 rows over all their keys, 128 keys at a time. As a sample the
// scores of some keys are written out; as a gate a row keeps the keys from its threshold on, in order of position, with
// their scores: what passes is a bit for each key, whose count gives each its place. No score that fails leaves the
// registers.
#pragma once

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/pipeline.cuh"
#include "kernels/cuda/sparse_attention/wgmma.cuh"
#include "kernels/cuda/top_k/top_k.cuh"

namespace headroom::kernels::cuda {

/// What the kernels of the index share: parameters and the parts of the workspace.
struct IndexWork {
  IndexTopKParams p;
  std::int64_t capacity = 0;      ///< candidates a row
  uint2* candidates = nullptr;    ///< [rows, capacity] bits of the score, key; ascending by key
  std::int32_t* found = nullptr;  ///< [rows] candidates; beyond the capacity: not all were kept
  float* thresholds = nullptr;    ///< [rows]
  void* sampled_keys = nullptr;   ///< bf16 [samples, dim] k of one key in 16
  float* samples = nullptr;       ///< [sampled rows, sample_stride]
  std::int64_t sample_stride = 0;
  float* fallback = nullptr;  ///< [index_fallback_rows, fallback_stride]
  std::int64_t fallback_stride = 0;
};

/// The key that stands for keys 16 i … 16 i + 15: always the same, and no pattern.
__device__ __forceinline__ std::int64_t sampled_key(std::int64_t i) {
  std::uint32_t hash = static_cast<std::uint32_t>(i) * 0x9e3779b1u;
  hash ^= hash >> 15;
  hash *= 0x85ebca77u;
  return i * index_sample + (hash >> 28);
}
/// Samples that a row sees: those of groups of keys that it sees whole.
__device__ __forceinline__ int samples_of(std::int64_t row) {
  return static_cast<int>((row + 1) / index_sample);
}

template <int Dim>
struct GateConfig {
  static constexpr int threads = 256;  ///< two warpgroups of 64 rows
  static constexpr int rows = static_cast<int>(index_row_tile), keys = 128;
  static constexpr int columns = Dim / 64;
  static constexpr int q_bytes = columns * rows * 128, stage_bytes = columns * keys * 128;
  static constexpr int shared_bytes = q_bytes + 2 * stage_bytes + 1024;
};

/// Rows [first, first + 128) of a [limit, Dim] matrix into swizzled tiles; rows beyond the limit repeat its last.
template <int Dim>
__device__ __forceinline__ void load_rows(std::uint32_t tile, const __nv_bfloat16* source, std::int64_t row_stride,
                                          std::int64_t first, std::int64_t limit) {
  constexpr int pieces = Dim / 8, per_pass = GateConfig<Dim>::threads / pieces;
  const int piece = threadIdx.x % pieces;
#pragma unroll
  for (int pass = 0; pass < 128 / per_pass; ++pass) {
    const int row = pass * per_pass + threadIdx.x / pieces;
    const std::int64_t from = min(first + row, limit - 1);
    copy_16(tile + (piece / 8) * 128 * 128 + row * 128 + ((piece & 7) ^ (row & 7)) * 16,
            source + from * row_stride + piece * 8);
  }
}

__device__ __forceinline__ std::uint32_t bits_below(int count) {
  return count >= 32 ? 0xffffffffu : count <= 0 ? 0u : (1u << count) - 1;
}

/// The number of set bits of each byte.
__device__ __forceinline__ std::uint32_t bits_of_bytes(std::uint32_t x) {
  x -= x >> 1 & 0x55555555u;
  x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
  return x + (x >> 4) & 0x0f0f0f0fu;
}
__device__ __forceinline__ void store_if(std::uint32_t condition, uint2* to, std::uint32_t first,
                                         std::uint32_t second) {
  asm volatile("{\n.reg .pred p;\nsetp.ne.u32 p, %0, 0;\n@p st.global.v2.b32 [%1], {%2, %3};\n}\n" ::"r"(condition),
               "l"(to), "r"(first), "r"(second)
               : "memory");
}

/// Scores of a thread: acc[4 j + 2 h + b] is row lane / 4 + 8 h of its warp's 16, key 8 j + 2 (lane % 4) + b.
template <int Dim>
__device__ __forceinline__ void gate_rows(const IndexWork& work, const float (&acc)[64], int half, std::int64_t row,
                                          uint2* candidates, int tile_key, float threshold, int& kept) {
  const int pair = 2 * (threadIdx.x & 3);
  std::uint32_t words[4];
#pragma unroll
  for (int word = 0; word < 4; ++word) {
    std::uint32_t bits = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int b = 0; b < 2; ++b)  // NaN passes: it ranks lowest, yet counts
        if (!(acc[16 * word + 4 * j + 2 * half + b] < threshold)) bits |= 1u << (8 * j + b);
    }
    words[word] = bits << pair;
  }
#pragma unroll
  for (int word = 0; word < 4; ++word) {
    words[word] |= __shfl_xor_sync(0xffffffffu, words[word], 1);
    words[word] |= __shfl_xor_sync(0xffffffffu, words[word], 2);
  }
  const auto position = static_cast<int>(work.p.row_begin + row);
  const int sinks = work.p.sinks, tail = position - work.p.local + 1;  // keys below and from which on are forced
  if (tile_key < sinks || tile_key + 128 > tail) {
#pragma unroll
    for (int word = 0; word < 4; ++word) {
      const int key = tile_key + 32 * word;
      words[word] |= bits_below(sinks - key) | ~bits_below(tail - key);
      words[word] &= bits_below(position + 1 - key);
    }
  }
  int before = kept;
#pragma unroll
  for (int word = 0; word < 4; ++word) kept += __popc(words[word]);
  const bool room = row < work.p.rows && kept <= work.capacity;
  // Places without a branch: a byte for each eight keys, of the keys before them and before this thread's among them.
  const std::uint32_t lower = ((1u << pair) - 1) * 0x01010101u;
#pragma unroll
  for (int word = 0; word < 4; ++word) {
    const std::uint32_t own = room ? words[word] : 0u;
    const std::uint32_t places = bits_of_bytes(words[word]) * 0x01010100u + bits_of_bytes(words[word] & lower);
    uint2* const to = candidates + before;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const std::uint32_t place = __byte_perm(places, 0, 0x4440 + j);
      const std::uint32_t bit = 1u << 8 * j << pair,
                          key = static_cast<std::uint32_t>(tile_key + 32 * word + 8 * j + pair);
      const float* score = acc + 16 * word + 4 * j + 2 * half;
      store_if(own & bit, to + place, __float_as_uint(score[0]), key);
      store_if(own & 2 * bit, to + place + ((words[word] & bit) != 0), __float_as_uint(score[1]), key + 1);
    }
    before += __popc(words[word]);
  }
}

/// `Sample`: rows [first_row, first_row + sampled) of work.p against the sampled keys, written out; blockIdx.y shares
/// the keys out. Else: candidates of all rows.
template <int Dim, bool Sample>
__global__ void __launch_bounds__(256, 2)
    gate_kernel(const IndexWork work, std::int64_t first_row, std::int64_t sampled) {
#ifndef HEADROOM_NO_WGMMA
  using Config = GateConfig<Dim>;
  extern __shared__ char shared_bytes[];
  const std::uint32_t q_tile = (shared_address(shared_bytes) + 1023) & ~1023u, k_tiles = q_tile + Config::q_bytes;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  // The longest rows first.
  const std::int64_t block_row = first_row + (gridDim.x - 1 - blockIdx.x) * static_cast<std::int64_t>(Config::rows);
  const std::int64_t rows = Sample ? min(first_row + sampled, work.p.rows) : work.p.rows;
  const std::int64_t last = work.p.row_begin + min(block_row + Config::rows, rows) - 1;
  if (last < work.p.top) return;  // every row has its whole history
  const std::int64_t keys = Sample ? samples_of(last) : last + 1;
  const auto tiles = static_cast<int>((keys + Config::keys - 1) / Config::keys);
  const auto* k = static_cast<const __nv_bfloat16*>(Sample ? work.sampled_keys : work.p.k);
  const std::int64_t k_row = Sample ? Dim : work.p.k_row;
  const int stride = static_cast<int>(gridDim.y);
  int tile = static_cast<int>(blockIdx.y);
  if (tile >= tiles) return;
  load_rows<Dim>(q_tile, static_cast<const __nv_bfloat16*>(work.p.q), work.p.q_row, work.p.row_begin + block_row,
                 work.p.row_begin + rows);
  load_rows<Dim>(k_tiles, k, k_row, static_cast<std::int64_t>(tile) * Config::keys, keys);
  copy_commit();

  const std::int64_t row = block_row + (warp / 4) * 64 + (warp & 3) * 16 + lane / 4;  // and the one 8 on
  float thresholds[2] = {0, 0};
  if constexpr (!Sample) {
    thresholds[0] = row < rows ? work.thresholds[row] : 0.0f;
    thresholds[1] = row + 8 < rows ? work.thresholds[row + 8] : 0.0f;
  }
  uint2* const candidates = work.candidates + row * work.capacity;
  int kept[2] = {0, 0};
  for (int stage = 0; tile < tiles; tile += stride, stage ^= 1) {
    copy_wait<0>();
    __syncthreads();
    if (tile + stride < tiles)
      load_rows<Dim>(k_tiles + (stage ^ 1) * Config::stage_bytes, k, k_row,
                     static_cast<std::int64_t>(tile + stride) * Config::keys, keys);
    copy_commit();
    float acc[64];
    const std::uint32_t q = q_tile + (warp / 4) * 8192, k_tile = k_tiles + stage * Config::stage_bytes;
    fence_registers(acc);
    warpgroup_arrive();
#pragma unroll
    for (int part = 0; part < Dim / 16; ++part) {
      const std::uint32_t at = (part / 4) * 128 * 128 + (part & 3) * 32;
      mma_scores(acc, tile_descriptor(q + at, 16), tile_descriptor(k_tile + at, 16), part > 0);
    }
    warpgroup_commit();
    warpgroup_wait<0>();
    fence_registers(acc);
    if constexpr (Sample) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (row + 8 * half >= rows) continue;
        float* to =
            work.samples + (row + 8 * half - first_row) * work.sample_stride + tile * Config::keys + 2 * (lane & 3);
#pragma unroll
        for (int j = 0; j < 16; ++j)
          *reinterpret_cast<float2*>(to + 8 * j) = make_float2(acc[4 * j + 2 * half], acc[4 * j + 2 * half + 1]);
      }
    } else {
      gate_rows<Dim>(work, acc, 0, row, candidates, tile * Config::keys, thresholds[0], kept[0]);
      gate_rows<Dim>(work, acc, 1, row + 8, candidates + 8 * work.capacity, tile * Config::keys, thresholds[1],
                     kept[1]);
    }
  }
  copy_wait<0>();
  if constexpr (!Sample) {
    if ((lane & 3) == 0) {
      if (row < rows) work.found[row] = kept[0];
      if (row + 8 < rows) work.found[row + 8] = kept[1];
    }
  }
#endif
}

}  // namespace headroom::kernels::cuda
