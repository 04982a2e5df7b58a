// SPDX-License-Identifier: Apache-2.0
// Sparse attention over unions of 32 queries on Hopper: 128 rows (32 queries x up to 4 heads of one KV head) share
// every gathered key. Two warpgroups consume 64 rows each (16 queries x 4 heads), a third gathers K and V rows by
// 16-byte asynchronous copies into rings of their own. A consumer multiplies q with the next keys while it waits for
// nothing of this step's P V: the softmax of step i + 1 runs under the product of step i.
#pragma once

#include "kernels/cuda/cuda_kernels.h"
#include "kernels/cuda/pipeline.cuh"
#include "kernels/cuda/sparse_attention/attention_sm90.cuh"
#include "kernels/cuda/sparse_attention/wgmma.cuh"

namespace headroom::kernels::cuda {

template <int HeadDim>
struct WideAttentionConfig {
  static constexpr int threads = 384;                     ///< two warpgroups that consume, one that gathers
  static constexpr int keys = HeadDim == 256 ? 64 : 128;  ///< a step
  static constexpr int stages = HeadDim == 64 ? 4 : 2;    ///< of K and of V each
  static constexpr int columns = HeadDim / 64;            ///< tiles of 64 columns
  static constexpr int column_bytes = keys * 128;         ///< 64 columns of a step's keys
  static constexpr int q_bytes = columns * 8192;          ///< of one consumer
  static constexpr int stage_bytes = columns * column_bytes;
  static constexpr int barrier_bytes = 4 * stages * 8;
  static constexpr int shared_bytes = 2 * q_bytes + 2 * stages * stage_bytes + barrier_bytes + 1024;  ///< room to align
  static constexpr int consumer_registers = HeadDim == 256 ? 232 : 208, producer_registers = HeadDim == 256 ? 40 : 88;
};

/// Where things lie in a block's shared memory.
template <int HeadDim>
struct WideAttentionShared {
  using Config = WideAttentionConfig<HeadDim>;
  std::uint32_t base;
  __device__ std::uint32_t q(int consumer) const { return base + consumer * Config::q_bytes; }
  __device__ std::uint32_t k(int stage) const { return base + 2 * Config::q_bytes + stage * Config::stage_bytes; }
  __device__ std::uint32_t v(int stage) const { return k(Config::stages + stage); }
  __device__ std::uint32_t barriers() const { return k(2 * Config::stages); }
  __device__ std::uint32_t k_full(int stage) const { return barriers() + stage * 8; }
  __device__ std::uint32_t k_empty(int stage) const { return k_full(Config::stages + stage); }
  __device__ std::uint32_t v_full(int stage) const { return k_full(2 * Config::stages + stage); }
  __device__ std::uint32_t v_empty(int stage) const { return k_full(3 * Config::stages + stage); }
};

/// The producer's copies of a step: 64 or 128 rows of `source`, a warp a quarter of them.
template <int HeadDim>
__device__ __forceinline__ void gather_step(std::uint32_t tile, const __nv_bfloat16* source, std::int64_t row_stride,
                                            int key_of_lane) {
  using Config = WideAttentionConfig<HeadDim>;
  constexpr int pieces = HeadDim / 8, rows_at_once = 32 / pieces, rows = Config::keys / 4;
  const int lane = threadIdx.x & 31, warp = (threadIdx.x >> 5) & 3;
  const int piece = lane % pieces;
  const std::uint32_t column = tile + (piece / 8) * Config::column_bytes;
#pragma unroll
  for (int pass = 0; pass < rows / rows_at_once; ++pass) {
    const int own = pass * rows_at_once + lane / pieces, row = warp * rows + own;
    const std::int64_t key = __shfl_sync(0xffffffffu, key_of_lane, own);
    copy_16(column + row * 128 + ((piece & 7) ^ (row & 7)) * 16, source + key * row_stride + piece * 8);
  }
}

template <int HeadDim>
__device__ __forceinline__ void produce(const WideAttentionShared<HeadDim>& shared, const __nv_bfloat16* k,
                                        std::int64_t k_row, const __nv_bfloat16* v, std::int64_t v_row,
                                        const std::int32_t* keys, int steps) {
  using Config = WideAttentionConfig<HeadDim>;
  constexpr int rows = Config::keys / 4;  // of a warp
  const int thread = threadIdx.x & 127, lane = threadIdx.x & 31, warp = thread >> 5;
  const auto key_of = [&](int step) {
    return step < steps && lane < rows ? __ldg(keys + step * Config::keys + warp * rows + lane) : 0;
  };
  const auto load_k = [&](int step, int key) {
    const int stage = step % Config::stages;
    barrier_wait(shared.k_empty(stage), (step / Config::stages & 1) ^ 1);
    gather_step<HeadDim>(shared.k(stage), k, k_row, key);
    barrier_arrive_copies(shared.k_full(stage));
  };
  int key = key_of(0), next = key_of(1);
  load_k(0, key);
  for (int step = 0; step < steps; ++step) {
    const int after = key_of(step + 2);
    if (step + 1 < steps) load_k(step + 1, next);
    const int stage = step % Config::stages;
    barrier_wait(shared.v_empty(stage), (step / Config::stages & 1) ^ 1);
    gather_step<HeadDim>(shared.v(stage), v, v_row, key);
    barrier_arrive_copies(shared.v_full(stage));
    key = next;
    next = after;
  }
}

template <int HeadDim>
class WideConsumer {
 public:
  using Config = WideAttentionConfig<HeadDim>;
  __device__ __forceinline__ WideConsumer(const WideAttentionShared<HeadDim>& shared, int consumer,
                                          const std::uint32_t* members, float scale)
      : shared_(shared),
        consumer_(consumer),
        lane_(threadIdx.x & 31),
        member_words_(members + 16 * consumer + lane_ / 4),
        scale_log2_(scale * 1.4426950408889634f) {
#pragma unroll
    for (int i = 0; i < HeadDim / 2; ++i) out[i] = 0;
  }

  __device__ __forceinline__ void run(int steps) {
    wait_k(0);
    multiply_k(0);
    load_members(0);
    warpgroup_wait<0>();
    fence_registers(scores_);
    release(shared_.k_empty(0));
    softmax();
    to_probabilities();
    // The consumers take turns with the tensor cores: one's softmax under the other's products.
    if (consumer_ == 1 && steps > 1) pass_turn();
    for (int step = 0; step + 1 < steps; ++step) {
      wait_k(step + 1);
      take_turn();
      multiply_k(step + 1);
      load_members(step + 1);
      wait_v(step);
      multiply_v(step);
      if (consumer_ == 0 || step + 2 < steps) pass_turn();
      warpgroup_wait<1>();
      fence_registers(scores_);
      release(shared_.k_empty((step + 1) % Config::stages));
      softmax();
      warpgroup_wait<0>();
      fence_registers(out);
      release(shared_.v_empty(step % Config::stages));
      if (__any_sync(0xffffffffu, shrink_[0] != 1.0f || shrink_[1] != 1.0f)) {
#pragma unroll
        for (int i = 0; i < HeadDim / 2; ++i) out[i] *= shrink_[(i & 2) / 2];
      }
      to_probabilities();
    }
    wait_v(steps - 1);
    multiply_v(steps - 1);
    warpgroup_wait<0>();
    fence_registers(out);
  }

  float out[HeadDim / 2];
  float largest[2] = {-__builtin_huge_valf(), -__builtin_huge_valf()}, sum[2] = {0, 0};

 private:
  __device__ __forceinline__ void wait_k(int step) {
    barrier_wait(shared_.k_full(step % Config::stages), step / Config::stages & 1);
    fence_copies();
  }
  __device__ __forceinline__ void wait_v(int step) {
    barrier_wait(shared_.v_full(step % Config::stages), step / Config::stages & 1);
    fence_copies();
  }
  __device__ __forceinline__ void take_turn() {
    named_barrier(3 + consumer_, 256);
  }
  __device__ __forceinline__ void pass_turn() {
    asm volatile("bar.arrive %0, 256;\n" ::"r"(4 - consumer_) : "memory");  // the other's
  }
  __device__ __forceinline__ void release(std::uint32_t barrier) {
    if (lane_ == 0) barrier_arrive(barrier);
  }
  __device__ __forceinline__ void multiply_k(int step) {
    const std::uint32_t q = shared_.q(consumer_), k = shared_.k(step % Config::stages);
    fence_registers(scores_);
    warpgroup_arrive();
#pragma unroll
    for (int part = 0; part < HeadDim / 16; ++part) {
      const std::uint32_t within = (part & 3) * 32;
      mma_scores(scores_, tile_descriptor(q + (part / 4) * 8192 + within, 16),
                 tile_descriptor(k + (part / 4) * Config::column_bytes + within, 16), part > 0);
    }
    warpgroup_commit();
  }
  __device__ __forceinline__ void multiply_v(int step) {
    const std::uint32_t v = shared_.v(step % Config::stages);
    fence_registers(out);
    warpgroup_arrive();
#pragma unroll
    for (int part = 0; part < Config::keys / 16; ++part)
      mma_values<HeadDim>(out, probabilities_[part], tile_descriptor(v + part * 2048, Config::column_bytes));
    warpgroup_commit();
  }

  /// Who has the step's keys: a word for each 32 keys and query, shifted to this thread's keys 8 i + 2 (lane % 4) + j.
  __device__ __forceinline__ void load_members(int step) {
#pragma unroll
    for (int word = 0; word < Config::keys / 32; ++word) {
#pragma unroll
      for (int half = 0; half < 2; ++half)
        members_[half][word] = __ldg(member_words_ + step * Config::keys + word * 32 + half * 8) >> 2 * (lane_ & 3);
    }
  }

  /// Scores become exp(score - largest so far) of the keys that each query has; shrink_ is what out must be scaled by.
  __device__ __forceinline__ void softmax() {
    constexpr float minus_infinity = -__builtin_huge_valf();
    float most[2] = {minus_infinity, minus_infinity};
#pragma unroll
    for (int i = 0; i < Config::keys / 8; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (!(members_[j / 2][i / 4] & 1u << (8 * (i & 3) + (j & 1)))) scores_[4 * i + j] = minus_infinity;
      most[0] = fmaxf(most[0], fmaxf(scores_[4 * i], scores_[4 * i + 1]));
      most[1] = fmaxf(most[1], fmaxf(scores_[4 * i + 2], scores_[4 * i + 3]));
    }
    float base[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      most[half] = fmaxf(most[half], __shfl_xor_sync(0xffffffffu, most[half], 1));
      most[half] = fmaxf(most[half], __shfl_xor_sync(0xffffffffu, most[half], 2));
      const float now = fmaxf(largest[half], most[half]);
      base[half] = now == minus_infinity ? 0.0f : now * scale_log2_;
      shrink_[half] = power_of_2(largest[half] * scale_log2_ - base[half]);
      largest[half] = now;
      sum[half] *= shrink_[half];
    }
#pragma unroll
    for (int i = 0; i < Config::keys / 2; ++i) {
      scores_[i] = power_of_2(fmaf(scores_[i], scale_log2_, -base[(i & 2) / 2]));
      sum[(i & 2) / 2] += scores_[i];
    }
  }
  __device__ __forceinline__ void to_probabilities() {
#pragma unroll
    for (int i = 0; i < Config::keys / 8; ++i) {
      probabilities_[i / 2][(i & 1) * 2] = pack(scores_[4 * i], scores_[4 * i + 1]);
      probabilities_[i / 2][(i & 1) * 2 + 1] = pack(scores_[4 * i + 2], scores_[4 * i + 3]);
    }
  }

  const WideAttentionShared<HeadDim>& shared_;
  const int consumer_, lane_;
  const std::uint32_t* const member_words_;
  const float scale_log2_;
  float scores_[Config::keys / 2], shrink_[2];
  std::uint32_t probabilities_[Config::keys / 16][4], members_[2][Config::keys / 32];
};

template <int HeadDim>
__global__ void __launch_bounds__(384, 1) wide_attention_kernel(const SparseAttentionParams p) {
#ifndef HEADROOM_NO_WGMMA
  using Config = WideAttentionConfig<HeadDim>;
  extern __shared__ char shared_bytes[];
  // The longest tiles first: they come from the end of the prompt.
  const std::int64_t tile = gridDim.x - 1 - blockIdx.x;
  const int size = p.unions.sizes[tile];
  if (size < 0) return;  // its halves are attended to by themselves
  const WideAttentionShared<HeadDim> shared{(shared_address(shared_bytes) + 1023) & ~1023u};
  const int consumer = threadIdx.x / 128;  // 2: the producer
  const int group = p.num_q_heads / p.num_kv_heads, splits = (group + 3) / 4;
  const int kv_head = blockIdx.y / splits, first_head = kv_head * group + blockIdx.y % splits * 4;
  const int heads = min(4, group - blockIdx.y % splits * 4);
  const int steps = (size + Config::keys - 1) / Config::keys;
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < Config::stages; ++stage) {
      barrier_init(shared.k_full(stage), 128);
      barrier_init(shared.v_full(stage), 128);
      barrier_init(shared.k_empty(stage), 8);
      barrier_init(shared.v_empty(stage), 8);
    }
    asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
  }
  __syncthreads();
  if (consumer == 2) {
    fewer_registers<Config::producer_registers>();
    if (steps > 0)
      produce<HeadDim>(shared, static_cast<const __nv_bfloat16*>(p.k) + kv_head * p.k_head, p.k_row,
                       static_cast<const __nv_bfloat16*>(p.v) + kv_head * p.v_head, p.v_row,
                       p.unions.keys + tile * p.unions.capacity, steps);
    copy_commit();
    copy_wait<0>();
  } else {
    more_registers<Config::consumer_registers>();
    const std::int64_t row_in_tile = 16 * consumer, first_row = p.unions.row_begin + tile * union_rows + row_in_tile;
    const int queries =
        static_cast<int>(min(p.unions.rows - tile * union_rows - row_in_tile, static_cast<std::int64_t>(16)));
    // Row 16 h + r is query r of head h; rows that there are not repeat one that there is.
    constexpr int pieces = HeadDim / 8, per_pass = 128 / pieces;
    const int thread = threadIdx.x & 127, piece = thread % pieces;
    const auto* q = static_cast<const __nv_bfloat16*>(p.q);
#pragma unroll
    for (int pass = 0; pass < 64 / per_pass; ++pass) {
      const int row = pass * per_pass + thread / pieces;
      const int head = first_head + min(row / 16, heads - 1);
      const std::int64_t from = max(min(first_row + row % 16, first_row + queries - 1), static_cast<std::int64_t>(0));
      copy_16(shared.q(consumer) + (piece / 8) * 8192 + row * 128 + ((piece & 7) ^ (row & 7)) * 16,
              q + head * p.q_head + from * p.q_row + piece * 8);
    }
    copy_commit();
    copy_wait<0>();
    named_barrier(1 + consumer, 128);
    WideConsumer<HeadDim> rows(shared, consumer, p.unions.members + tile * p.unions.capacity, p.scale);
    if (steps > 0) rows.run(steps);

    const int lane = threadIdx.x & 31, warp = thread >> 5;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = rows.sum[half];
      sum += __shfl_xor_sync(0xffffffffu, sum, 1);
      sum += __shfl_xor_sync(0xffffffffu, sum, 2);
      const int row = lane / 4 + 8 * half;
      if (warp >= heads || row >= queries) continue;
      const int head = first_head + warp;
      const float share = sum == 0 ? 0.0f : 1.0f / sum;
      auto* to =
          static_cast<__nv_bfloat16*>(p.out) + head * p.out_head + (first_row + row) * p.out_row + 2 * (lane & 3);
#pragma unroll
      for (int i = 0; i < HeadDim / 8; ++i)
        *reinterpret_cast<std::uint32_t*>(to + 8 * i) =
            pack(rows.out[4 * i + 2 * half] * share, rows.out[4 * i + 2 * half + 1] * share);
      if (p.lse && (lane & 3) == 0)
        p.lse[head * p.length + first_row + row] =
            sum == 0 ? -__builtin_huge_valf() : rows.largest[half] * p.scale + logf(sum);
    }
  }
#endif
}

}  // namespace headroom::kernels::cuda
