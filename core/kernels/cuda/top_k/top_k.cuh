// SPDX-License-Identifier: Apache-2.0
// The k best of a row of scores, exactly and in order of position, one block a row. A sample of the row (one piece of
// four scores in sixteen) says above which value about 1.4 k keys lie; one read of the row then keeps those in shared
// memory, where their bits decide. Where that misses (fewer than k keys, or more than fit) a histogram of the whole row's
// leading 12 bits finds the bin of the k-th best, keys above it are marked in a bitmap and those in it are kept; a bin of
// too many is split by further reads. What is marked is written in order by counting bits.
#pragma once

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/sparse_attention/unions.cuh"

namespace headroom::kernels::cuda {

struct TopKConfig {
  static constexpr int threads = 512;
  static constexpr int bins = static_cast<int>(top_k_bins);              ///< leading 12 bits
  static constexpr int candidates = static_cast<int>(top_k_candidates);  ///< of one bin, in shared memory
};

/// Larger for better: the order of fp32 numbers as unsigned ones, NaN lowest of all.
__device__ __forceinline__ std::uint32_t order_of(float value) {
  const std::uint32_t bits = __float_as_uint(value);
  if (value != value) return 0;
  if ((bits << 1) == 0) return 0x80000000u;  // -0 equals 0
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

class RowSelection {
 public:
  __device__ RowSelection(const float* scores, int keys, int k, int sinks, int local, std::uint32_t* shared)
      : scores_(scores), keys_(keys), sinks_(sinks), tail_(max(sinks, keys - local)), wanted_(k),
        histogram_(reinterpret_cast<int*>(shared)), values_(shared + TopKConfig::bins),
        places_(reinterpret_cast<int*>(values_ + TopKConfig::candidates)),
        marked_(shared + TopKConfig::bins + 2 * TopKConfig::candidates) {}

  __device__ void mark() {
    for (int i = threadIdx.x; i < (keys_ + 31) / 32; i += TopKConfig::threads) marked_[i] = 0;
    const int k = wanted_;
    const int kept = gather_by_sample();
    wanted_ = k;
    if (kept >= k && kept <= TopKConfig::candidates) {
      settle(0, 32, kept);
      return;
    }
    std::uint32_t prefix = 0;  // the leading bits that are settled
    int shift = 32;
    for (const int bits : {12, 10, 10}) {
      count(prefix, shift, bits, [&](auto&& visit) { each_key<1>(visit); });
      const int bin = find(1 << bits);
      const int in_bin = histogram_[bin];
      shift -= bits;
      prefix = prefix << bits | static_cast<std::uint32_t>(bin);
      __syncthreads();
      if (in_bin <= TopKConfig::candidates) {
        gather(prefix, shift);
        settle(prefix, shift, in_bin);
        return;
      }
    }
    // Thousands of equal keys: those above are marked, of the equal ones the first so many.
    each_key<1>([&](int key, std::uint32_t value) {
      if (value > prefix) set(key);
    });
    mark_first_equal(prefix);
  }

  /// Writes the marked keys in order.
  __device__ void write(std::int32_t* to) {
    __syncthreads();
    const int words = (keys_ + 31) / 32, each = (words + TopKConfig::threads - 1) / TopKConfig::threads;
    const int from = min(static_cast<int>(threadIdx.x) * each, words), end = min(from + each, words);
    int own = 0;
    for (int word = from; word < end; ++word) own += __popc(marked_[word]);
    int total = 0;
    int place = block_prefix<TopKConfig::threads>(own, total, warp_sums());
    for (int word = from; word < end; ++word)
      for (std::uint32_t left = marked_[word]; left != 0; left &= left - 1) to[place++] = word * 32 + __ffs(left) - 1;
  }

 private:
  static __device__ int* warp_sums() {
    __shared__ int sums[TopKConfig::threads / 32];
    return sums;
  }
  __device__ void set(int key) { atomicOr(marked_ + (key >> 5), 1u << (key & 31)); }

  /// Keeps the keys from a value on that leaves about 1.4 k of them, by a sample; all of them where they fit. Returns
  /// their number, which may be beyond what was kept.
  __device__ int gather_by_sample() {
    std::uint32_t least = 0;
    if (keys_ > TopKConfig::candidates) {
      constexpr int every = 16;
      count(0, 32, 12, [&](auto&& visit) { each_key<every>(visit); });
      wanted_ = min(max(1, wanted_ * 7 / 5 / every), keys_ / 4 / every * 4);
      least = static_cast<std::uint32_t>(find(TopKConfig::bins)) << 20;
    }
    __shared__ int kept;
    if (threadIdx.x == 0) kept = 0;
    __syncthreads();
    each_key<1>([&](int key, std::uint32_t value) {
      if (value < least) return;
      const int place = atomicAdd(&kept, 1);
      if (place >= TopKConfig::candidates) return;
      values_[place] = value;
      places_[place] = key;
    });
    __syncthreads();
    const int number = kept;
    __syncthreads();
    return number;
  }

  /// Every key, or one piece of four in `Every`.
  template <int Every, typename Visit>
  __device__ void each_key(Visit&& visit) const {
    const auto one = [&](int key, float score) {
      visit(key, key < sinks_ || key >= tail_ ? 0xffffffffu : order_of(score));
    };
    const int fours = keys_ / 4;
    const auto* four = reinterpret_cast<const float4*>(scores_);
#pragma unroll 4
    for (int j = threadIdx.x; j < fours / Every; j += TopKConfig::threads) {
      const int i = j * Every;
      const float4 score = four[i];
      one(4 * i, score.x);
      one(4 * i + 1, score.y);
      one(4 * i + 2, score.z);
      one(4 * i + 3, score.w);
    }
    if constexpr (Every == 1)
      for (int key = 4 * fours + static_cast<int>(threadIdx.x); key < keys_; key += TopKConfig::threads)
        one(key, scores_[key]);
  }

  /// Histogram of the next `bits` bits below `shift` of the values that begin with `prefix`.
  template <typename Each>
  __device__ void count(std::uint32_t prefix, int shift, int bits, Each&& each) {
    for (int i = threadIdx.x; i < 1 << bits; i += TopKConfig::threads) histogram_[i] = 0;
    __syncthreads();
    each([&](int, std::uint32_t value) {
      if (shift == 32 || value >> shift == prefix)
        atomicAdd(histogram_ + (value >> (shift - bits) & ((1u << bits) - 1)), 1);
    });
    __syncthreads();
  }

  /// The bin, from the highest down, in which the wanted count is reached; wanted_ becomes what is wanted of that bin.
  __device__ int find(int bins) {
    __shared__ int found_bin, found_wanted;
    const int each = bins / TopKConfig::threads > 0 ? bins / TopKConfig::threads : 1;
    const int last = bins - 1 - static_cast<int>(threadIdx.x) * each;  // this thread's bins: last, last - 1, …
    int own = 0;
    for (int i = 0; i < each; ++i)
      if (last - i >= 0) own += histogram_[last - i];
    int total = 0;
    int above = block_prefix<TopKConfig::threads>(own, total, warp_sums());
    if (above < wanted_ && above + own >= wanted_) {
      int bin = last;
      while (above + histogram_[bin] < wanted_) above += histogram_[bin--];
      found_bin = bin;
      found_wanted = wanted_ - above;
    }
    __syncthreads();
    wanted_ = found_wanted;
    const int bin = found_bin;
    __syncthreads();
    return bin;
  }

  /// Marks what is above the prefix and keeps what begins with it.
  __device__ void gather(std::uint32_t prefix, int shift) {
    __shared__ int kept;
    if (threadIdx.x == 0) kept = 0;
    __syncthreads();
    each_key<1>([&](int key, std::uint32_t value) {
      const std::uint32_t leading = value >> shift;
      if (leading > prefix) set(key);
      if (leading == prefix) {
        const int place = atomicAdd(&kept, 1);
        values_[place] = value;
        places_[place] = key;
      }
    });
    __syncthreads();
  }

  /// Chooses wanted_ of the candidates.
  __device__ void settle(std::uint32_t prefix, int shift, int candidates) {
    const auto each = [&](auto&& visit) {
      for (int i = threadIdx.x; i < candidates; i += TopKConfig::threads) visit(places_[i], values_[i]);
    };
    while (shift > 0) {
      const int bits = shift == 32 ? 12 : min(shift, 10);
      count(prefix, shift, bits, each);
      const auto bin = static_cast<std::uint32_t>(find(1 << bits));
      // Where the whole bin is wanted nothing is left to decide.
      const bool whole = histogram_[bin] == wanted_;
      each([&](int key, std::uint32_t value) {
        const std::uint32_t next = value >> (shift - bits) & ((1u << bits) - 1);
        if ((shift == 32 || value >> shift == prefix) && (next > bin || (whole && next == bin))) set(key);
      });
      if (whole) return;
      shift -= bits;
      prefix = prefix << bits | bin;
      __syncthreads();
    }
    // The lowest positions of the equal ones: the same search among positions turned round.
    std::uint32_t high = 0;
    int left = 32;
    while (left > 0) {
      const int bits = left == 32 ? 12 : 10;
      count(high, left, bits, [&](auto&& visit) {
        each([&](int key, std::uint32_t value) {
          if (value == prefix) visit(key, ~static_cast<std::uint32_t>(key));
        });
      });
      const int bin = find(1 << bits);
      left -= bits;
      high = high << bits | static_cast<std::uint32_t>(bin);
    }
    each([&](int key, std::uint32_t value) {
      if (value == prefix && ~static_cast<std::uint32_t>(key) >= high) set(key);
    });
  }

  __device__ void mark_first_equal(std::uint32_t value) {
    for (int begin = 0; begin < keys_ && wanted_ > 0; begin += TopKConfig::threads) {
      const int key = begin + static_cast<int>(threadIdx.x);
      const bool equal = key < keys_ && (key < sinks_ || key >= tail_ ? 0xffffffffu : order_of(scores_[key])) == value;
      int total = 0;
      const int before = block_prefix<TopKConfig::threads>(equal, total, warp_sums());
      if (equal && before < wanted_) set(key);
      wanted_ -= min(total, wanted_);
    }
  }

  const float* scores_;
  int keys_, sinks_, tail_, wanted_;
  int* histogram_;
  std::uint32_t* values_;
  int* places_;
  std::uint32_t* marked_;
};

__global__ void __launch_bounds__(TopKConfig::threads) top_k_kernel(const TopKParams p) {
  extern __shared__ std::uint32_t shared_words[];
  const std::int64_t row = gridDim.x - 1 - blockIdx.x;  // the longest rows first
  const int keys = static_cast<int>(p.row_begin + row + 1), count = min(p.k, keys);
  std::int32_t* to = p.indices + row * p.k;
  if (keys <= p.k) {
    for (int i = threadIdx.x; i < keys; i += TopKConfig::threads) to[i] = i;
  } else {
    RowSelection selection(p.scores + row / p.shared_rows * p.row_stride, keys, p.k, p.sinks, p.local, shared_words);
    selection.mark();
    selection.write(to);
  }
  for (int i = count + static_cast<int>(threadIdx.x); i < p.k; i += TopKConfig::threads) to[i] = -1;
  if (threadIdx.x == 0) p.counts[row] = count;
}

}  // namespace headroom::kernels::cuda
