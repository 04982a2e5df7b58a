// SPDX-License-Identifier: Apache-2.0
// Around the gate of the index: the sampled keys, a threshold for each row from its sampled scores, the exact choice
// among the candidates that the gate kept, and the slow way for rows where too few or too many passed (equal scores by
// the thousand, mostly): their scores are written out and selected from as a whole.
#pragma once

#include "kernels/cuda/index/gate_sm90.cuh"

namespace headroom::kernels::cuda {

__global__ void __launch_bounds__(256) sampled_keys_kernel(const IndexWork work, std::int64_t samples) {
  const int pieces = work.p.dim / 8;
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * 256 + threadIdx.x) / pieces;
  const int piece = static_cast<int>(threadIdx.x % pieces);
  if (i >= samples) return;
  const auto* k = static_cast<const __nv_bfloat16*>(work.p.k) + sampled_key(i) * work.p.k_row + piece * 8;
  auto* to = static_cast<__nv_bfloat16*>(work.sampled_keys) + i * work.p.dim + piece * 8;
  *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(k);
}

struct ThresholdConfig {
  static constexpr int threads = 256, bins = 1024, each = bins / threads, rounds = 4, held = 32;
};

/// The value that about index_sample_rank() of a row's samples reach: bins of equal width between the least and the
/// largest of them, then of the one where the count is reached, until few are left in it. It need not be exact: what
/// passes is counted.
__global__ void __launch_bounds__(ThresholdConfig::threads)
    threshold_kernel(const IndexWork work, std::int64_t first_row, int rank) {
  using Config = ThresholdConfig;
  constexpr float infinity = __builtin_huge_valf(), nan = __builtin_nanf("");
  __shared__ int histogram[Config::bins], warp_sums[Config::threads / 32], found_bin, found_wanted;
  __shared__ float lows[Config::threads / 32], highs[Config::threads / 32];
  const std::int64_t row = first_row + blockIdx.x, position = work.p.row_begin + row;
  if (position + 1 <= work.capacity) {
    if (threadIdx.x == 0) work.thresholds[row] = -infinity;
    return;
  }
  const float* samples = work.samples + blockIdx.x * work.sample_stride;
  const int number = samples_of(position);
  // The first samples stay in registers; those of prompts beyond 128 K tokens are read again.
  float held[Config::held];
#pragma unroll
  for (int j = 0; j < Config::held / 4; ++j) {
    const int i = 4 * (j * Config::threads + static_cast<int>(threadIdx.x));
    const float4 four = i < number ? *reinterpret_cast<const float4*>(samples + i) : float4{};
    held[4 * j] = i < number ? four.x : nan;
    held[4 * j + 1] = i + 1 < number ? four.y : nan;
    held[4 * j + 2] = i + 2 < number ? four.z : nan;
    held[4 * j + 3] = i + 3 < number ? four.w : nan;
  }
  const auto each_sample = [&](auto&& visit) {
#pragma unroll
    for (int j = 0; j < Config::held; ++j) visit(held[j]);
    for (int i = Config::held * Config::threads + static_cast<int>(threadIdx.x); i < number; i += Config::threads)
      visit(samples[i]);
  };
  float low = infinity, high = -infinity;
  each_sample([&](float score) {
    if (!(fabsf(score) < infinity)) return;
    low = fminf(low, score);
    high = fmaxf(high, score);
  });
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    low = fminf(low, __shfl_xor_sync(0xffffffffu, low, step));
    high = fmaxf(high, __shfl_xor_sync(0xffffffffu, high, step));
  }
  if ((threadIdx.x & 31) == 0) {
    lows[threadIdx.x / 32] = low;
    highs[threadIdx.x / 32] = high;
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < Config::threads / 32; ++i) {
    low = fminf(low, lows[i]);
    high = fmaxf(high, highs[i]);
  }
  float result = low;
  int wanted = rank;
  for (int round = 0; round < Config::rounds && low < high; ++round) {
    const float width = high / Config::bins - low / Config::bins;
    const float inverse = 1 / width;
    if (!(width > 0) || !(inverse < infinity)) break;
    for (int i = threadIdx.x; i < Config::bins; i += Config::threads) histogram[i] = 0;
    if (threadIdx.x == 0) found_bin = -1;
    __syncthreads();
    each_sample([&](float score) {
      if (!(score >= low) || (round > 0 && !(score < high))) return;
      const float place = (score - low) * inverse;
      atomicAdd(histogram + (place < Config::bins - 1 ? static_cast<int>(place) : Config::bins - 1), 1);
    });
    __syncthreads();
    const int last = Config::bins - 1 - static_cast<int>(threadIdx.x) * Config::each;
    int own = 0, total = 0;
#pragma unroll
    for (int i = 0; i < Config::each; ++i) own += histogram[last - i];
    int above = block_prefix<Config::threads>(own, total, warp_sums);
    if (above < wanted && above + own >= wanted) {
      int bin = last;
      while (above + histogram[bin] < wanted) above += histogram[bin--];
      found_bin = bin;
      found_wanted = wanted - above;
    }
    __syncthreads();
    if (found_bin < 0) {  // the rest are -infinity or NaN, or rounding moved some away
      result = round == 0 ? -infinity : low;
      break;
    }
    low = fmaf(static_cast<float>(found_bin), width, low);
    high = low + width;
    result = low;
    wanted = found_wanted;
    const bool few = histogram[found_bin] <= 4 || histogram[found_bin] * 16 <= rank;
    __syncthreads();
    if (few) break;
  }
  if (threadIdx.x == 0) work.thresholds[row] = result;
}

/// Calls visit(i, marked candidates before it) for each marked one of this thread's, in the order of positions.
template <int Threads, int Each, typename Visit>
__device__ __forceinline__ void in_order(unsigned marked, int* warp_sums, Visit&& visit) {
  int total = 0;
  int before = __shfl_sync(0xffffffffu, block_prefix<Threads>(__popc(marked), total, warp_sums), 0);
  const unsigned below = (1u << (threadIdx.x & 31)) - 1;
#pragma unroll
  for (int i = 0; i < Each; ++i) {
    const bool own = marked >> i & 1u;
    const unsigned column = __ballot_sync(0xffffffffu, own);
    if (own) visit(i, before + __popc(column & below));
    before += __popc(column);
  }
}

/// The best `top` of a row's candidates, which lie in order of position: a warp has neighbouring ones, 32 at a time.
template <int Threads>
__global__ void __launch_bounds__(Threads) choose_kernel(const IndexWork work) {
  constexpr int each = 16, bins = 2048, few = 64;
  static_assert(bins % Threads == 0);
  __shared__ int histogram[bins], warp_sums[Threads / 32], found_bin, found_wanted, listed;
  __shared__ std::uint32_t lows[Threads / 32], highs[Threads / 32];
  __shared__ uint2 list[few];
  const std::int64_t row = blockIdx.x;
  const int keys = static_cast<int>(work.p.row_begin + row + 1), top = work.p.top;
  std::int32_t* to = work.p.indices + row * top;
  if (keys <= top) {
    for (int i = threadIdx.x; i < top; i += Threads) to[i] = i < keys ? i : -1;
    if (threadIdx.x == 0) work.p.counts[row] = keys;
    return;
  }
  const int found = work.found[row];
  if (found < top || found > work.capacity) return;  // the slow way
  if (threadIdx.x == 0) work.p.counts[row] = top;
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  const int turns = (found + Threads - 1) / Threads;  // at most `each`: index_capacity()
  const uint2* from = work.candidates + row * work.capacity + warp * turns * 32 + lane;
  const int left = found - warp * turns * 32 - lane;
  const int own = left <= 0 ? 0 : min(turns, (left + 31) / 32);  // candidates 32 i + lane of the warp's, i < own
  std::uint32_t value[each];
  std::int32_t key[each];
  std::uint32_t low = 0xffffffffu, high = 0;
  int forced = 0;
#pragma unroll
  for (int i = 0; i < each; ++i) {
    const uint2 one = i < own ? from[32 * i] : make_uint2(0, 0);
    value[i] = one.x;
    key[i] = static_cast<std::int32_t>(one.y);
  }
#pragma unroll
  for (int i = 0; i < each; ++i) {
    if (i >= own) continue;
    if (key[i] < work.p.sinks || key[i] >= keys - work.p.local) {
      value[i] = 0xffffffffu;
      ++forced;
      continue;
    }
    value[i] = order_of(__uint_as_float(value[i]));
    low = min(low, value[i]);
    high = max(high, value[i]);
  }
  low = __reduce_min_sync(0xffffffffu, low);
  high = __reduce_max_sync(0xffffffffu, high);
  if ((threadIdx.x & 31) == 0) {
    lows[threadIdx.x / 32] = low;
    highs[threadIdx.x / 32] = high;
  }
  int all_forced = 0;
  block_prefix<Threads>(forced, all_forced, warp_sums);
#pragma unroll
  for (int i = 0; i < Threads / 32; ++i) {
    low = min(low, lows[i]);
    high = max(high, highs[i]);
  }
  int wanted = top - all_forced;
  unsigned taken = 0;  // bits of this thread's candidates
  // Candidates above `high` are in; [low, high] holds those of which `wanted` are.
  if (wanted > 0) {
    int shift = max(0, 32 - __clz(static_cast<int>(high - low)) - 11);
    for (;;) {
      for (int i = threadIdx.x; i < bins; i += Threads) histogram[i] = 0;
      if (threadIdx.x == 0) listed = 0;
      __syncthreads();
#pragma unroll
      for (int i = 0; i < each; ++i)
        if (i < own && value[i] >= low && value[i] <= high) atomicAdd(histogram + ((value[i] - low) >> shift), 1);
      __syncthreads();
      constexpr int share = bins / Threads;
      const int last = bins - 1 - static_cast<int>(threadIdx.x) * share;
      int mine = 0, total = 0;
#pragma unroll
      for (int i = 0; i < share; ++i) mine += histogram[last - i];
      int above = block_prefix<Threads>(mine, total, warp_sums);
      if (above < wanted && above + mine >= wanted) {
        int bin = last;
        while (above + histogram[bin] < wanted) above += histogram[bin--];
        found_bin = bin;
        found_wanted = wanted - above;
      }
      __syncthreads();
      low += static_cast<std::uint32_t>(found_bin) << shift;
      high = low + ((1u << shift) - 1);
      wanted = found_wanted;
      const int in_bin = histogram[found_bin];
      if (in_bin == wanted) {  // all of the bin
#pragma unroll
        for (int i = 0; i < each; ++i)
          if (i < own && value[i] >= low && value[i] <= high) taken |= 1u << i;
        break;
      }
      if (in_bin <= few) {  // each against each
#pragma unroll
        for (int i = 0; i < each; ++i)
          if (i < own && value[i] >= low && value[i] <= high)
            list[atomicAdd(&listed, 1)] = make_uint2(value[i], static_cast<std::uint32_t>(key[i]));
        __syncthreads();
#pragma unroll
        for (int i = 0; i < each; ++i) {
          if (i >= own || value[i] < low || value[i] > high) continue;
          int better = 0;
          for (int j = 0; j < in_bin; ++j) {
            const uint2 other = list[j];
            better += other.x > value[i] || (other.x == value[i] && static_cast<std::int32_t>(other.y) < key[i]);
          }
          if (better < wanted) taken |= 1u << i;
        }
        break;
      }
      if (shift == 0) {  // equal ones: the first
        unsigned equal = 0;
#pragma unroll
        for (int i = 0; i < each; ++i) equal |= static_cast<unsigned>(i < own && value[i] == low) << i;
        in_order<Threads, each>(equal, warp_sums, [&](int i, int before) {
          if (before < wanted) taken |= 1u << i;
        });
        break;
      }
      shift = max(0, shift - 11);
      __syncthreads();
    }
  }
#pragma unroll
  for (int i = 0; i < each; ++i)
    if (i < own && value[i] > high) taken |= 1u << i;
  in_order<Threads, each>(taken, warp_sums, [&](int i, int before) { to[before] = key[i]; });
}

/// Rows whose candidates did not do.
template <int Dim>
__global__ void __launch_bounds__(TopKConfig::threads) fallback_kernel(const IndexWork work) {
  extern __shared__ std::uint32_t shared_words[];
  __shared__ float query[Dim];
  __shared__ int list[TopKConfig::threads], listed;
  float* scores = work.fallback + blockIdx.x * work.fallback_stride;
  const int top = work.p.top;
  for (std::int64_t begin = blockIdx.x; begin < work.p.rows;
       begin += static_cast<std::int64_t>(gridDim.x) * TopKConfig::threads) {
    __syncthreads();
    if (threadIdx.x == 0) listed = 0;
    __syncthreads();
    if (const std::int64_t row = begin + static_cast<std::int64_t>(gridDim.x) * threadIdx.x;
        row < work.p.rows && work.p.row_begin + row >= top &&
        (work.found[row] < top || work.found[row] > work.capacity))
      list[atomicAdd(&listed, 1)] = static_cast<int>(row);
    __syncthreads();
    const int number = listed;
    for (int i = 0; i < number; ++i) {
      const std::int64_t row = list[i], position = work.p.row_begin + row;
      const int keys = static_cast<int>(position + 1);
      __syncthreads();
      if (threadIdx.x < Dim)
        query[threadIdx.x] =
            __bfloat162float(static_cast<const __nv_bfloat16*>(work.p.q)[position * work.p.q_row + threadIdx.x]);
      __syncthreads();
      for (int key = threadIdx.x; key < keys; key += TopKConfig::threads) {
        const auto* k =
            reinterpret_cast<const uint4*>(static_cast<const __nv_bfloat16*>(work.p.k) + key * work.p.k_row);
        float sum = 0;
#pragma unroll
        for (int piece = 0; piece < Dim / 8; ++piece) {
          const uint4 eight = __ldg(k + piece);
          const std::uint32_t pairs[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            sum = fmaf(query[8 * piece + 2 * i], __uint_as_float(pairs[i] << 16), sum);
            sum = fmaf(query[8 * piece + 2 * i + 1], __uint_as_float(pairs[i] & 0xffff0000u), sum);
          }
        }
        scores[key] = sum;
      }
      __syncthreads();
      RowSelection selection(scores, keys, top, work.p.sinks, work.p.local, shared_words);
      selection.mark();
      selection.write(work.p.indices + row * top);
      if (threadIdx.x == 0) work.p.counts[row] = top;
    }
  }
}

}  // namespace headroom::kernels::cuda
