// SPDX-License-Identifier: Apache-2.0
// The state's kernel with its work divided: one warpgroup carries the state from chunk to chunk, which is the chain
// that everything waits for, and another gives the output, from the state and what rows write as the first has packed
// them.
#pragma once

#include "kernels/cuda/delta_net/state.cuh"

namespace headroom::kernels::cuda {

/// As DeltaStateConfig, and what the two warpgroups hand over: the state's left sides, and those of what rows write.
struct DeltaSplitConfig : DeltaStateConfig<4> {
  static constexpr int threads = 9 * 32;
  static constexpr int states = DeltaStateConfig<4>::turned, written = states + 4 * 4096;
  static constexpr int turned = written + 4 * 2048, barriers = turned + 4 * 64 * 32;
  static constexpr int num_barriers = 2 * stages + 16;
  static constexpr int shared_bytes = barriers + 8 * num_barriers + 1024;
};

/// Left sides of products, 16 bytes a lane, from a warp to its partner.
template <int Parts>
__device__ __forceinline__ void hand_over(std::uint32_t room, const std::uint32_t (&a)[Parts][4], int lane) {
#pragma unroll
  for (int part = 0; part < Parts; ++part)
    store_shared_piece(room + part * 512 + lane * 16, make_uint4(a[part][0], a[part][1], a[part][2], a[part][3]));
}
template <int Parts>
__device__ __forceinline__ void take_over(std::uint32_t (&a)[Parts][4], std::uint32_t room, int lane) {
#pragma unroll
  for (int part = 0; part < Parts; ++part) {
    const uint4 piece = load_shared(room + part * 512 + lane * 16);
    a[part][0] = piece.x, a[part][1] = piece.y, a[part][2] = piece.z, a[part][3] = piece.w;
  }
}
/// The warp's accesses so far are done: one arrival for all of it.
__device__ __forceinline__ void warp_arrive(std::uint32_t barrier, int lane) {
  __syncwarp();
  if (lane == 0) barrier_arrive(barrier);
  __syncwarp();
}

__global__ void __launch_bounds__(DeltaSplitConfig::threads, 1) delta_split_kernel(const DeltaWork work) {
#ifndef HEADROOM_NO_WGMMA
  using Config = DeltaSplitConfig;
  extern __shared__ char shared_bytes[];
  const DeltaNetParams& p = work.p;
  const std::uint32_t shared = (shared_address(shared_bytes) + 1023) & ~1023u;
  const std::uint32_t full = shared + Config::barriers, empty = full + 8 * Config::stages;
  const std::uint32_t pairs = empty + 8 * Config::stages;
  const int head = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32, t = lane % 4;
  const int partner = warp % 4, first_value = blockIdx.y * 64 + partner * 16;  // of the head
  if (threadIdx.x == 0) {
    for (int slot = 0; slot < Config::stages; ++slot) {
      barrier_init(full + 8 * slot, 1);
      barrier_init(empty + 8 * slot, 8);
    }
    for (int pair = 0; pair < 16; ++pair) barrier_init(pairs + 8 * pair, 1);
    fence_barriers();
    fence_copies();
  }
  __syncthreads();
  const std::uint32_t states = shared + Config::states + partner * 4096, states_full = pairs + 8 * partner;
  const std::uint32_t written_room = shared + Config::written + partner * 2048, states_empty = states_full + 32;
  const std::uint32_t written_full = states_full + 64, written_empty = states_full + 96;

  if (warp == 8) {
    if (lane == 0) delta_copy_chunks<Config>(work, shared, head, blockIdx.y);
  } else if (warp < 4) {
    float* const memory = delta_memory(p, head);
    float state[64];
    delta_read_state(state, memory, first_value, lane);
    for (std::int64_t chunk = 0; chunk < work.chunks; ++chunk) {
      const int slot = static_cast<int>(chunk % Config::stages), turn = static_cast<int>(chunk / Config::stages);
      const std::uint32_t stage = shared + slot * Config::stage_bytes;
      const DeltaFactors factors = delta_factors<Config>(shared_bytes, stage);
      barrier_wait(full + 8 * slot, turn & 1);
      float held[32];
      std::uint32_t before[8][4];
#pragma unroll
      for (int part = 0; part < 8; ++part) as_left_side(before[part], state + 8 * part);
      warpgroup_arrive();
      group_by_rows(held, before, stage + Config::k, false);
      barrier_wait(states_empty, (chunk + 1) & 1);
      hand_over(states, before, lane);
      warp_arrive(states_full, lane);
      warpgroup_wait<0>();
      fence_registers(held);

      std::uint32_t changes[4][4];
      delta_changes(changes, held, stage + Config::v, first_value % 64 / 8, factors, lane);
      float written[32];
      warpgroup_arrive();
      group_by_rows(written, changes, stage + Config::inverse, false);
      const float all = factors.left[31].y;
#pragma unroll
      for (int i = 0; i < 64; ++i) state[i] *= all;
      warpgroup_wait<0>();
      fence_registers(written);

      std::uint32_t fresh[4][4], kept[4][4];
      delta_kept(kept, written, factors, t);
      fence_registers(state);
      warpgroup_arrive();
      group_by_keys(state, kept, stage + Config::k);
#pragma unroll
      for (int pair = 0; pair < 4; ++pair) as_left_side(fresh[pair], written + 8 * pair);
      barrier_wait(written_empty, (chunk + 1) & 1);
      hand_over(written_room, fresh, lane);
      warp_arrive(written_full, lane);
      warpgroup_wait<0>();
      fence_registers(state);
      warp_arrive(empty + 8 * slot, lane);
    }
    delta_write_state(memory, state, first_value, lane);
  } else {
    auto* const out_columns = static_cast<__nv_bfloat16*>(p.out) + head * delta_head_dim + first_value;
    const std::uint32_t room = shared + Config::turned + partner * 64 * 32;
    std::uint32_t ready[4][4];
    const auto write_ready = [&](std::int64_t chunk) {
      const std::int64_t row = chunk * delta_chunk_rows;
      delta_write_rows(ready, room, out_columns + row * p.out_row, p.out_row, p.rows - row, lane);
    };
    for (std::int64_t chunk = 0; chunk < work.chunks; ++chunk) {
      const int slot = static_cast<int>(chunk % Config::stages), turn = static_cast<int>(chunk / Config::stages);
      const std::uint32_t stage = shared + slot * Config::stage_bytes;
      const DeltaFactors factors = delta_factors<Config>(shared_bytes, stage);
      float out[32];
      std::uint32_t before[8][4], fresh[4][4];
      barrier_wait(full + 8 * slot, turn & 1);
      barrier_wait(states_full, chunk & 1);
      take_over(before, states, lane);
      warp_arrive(states_empty, lane);
      warpgroup_arrive();
      group_by_rows(out, before, stage + Config::q, false);
      if (chunk > 0) write_ready(chunk - 1);
      warpgroup_wait<0>();
      fence_registers(out);
      delta_decay(out, factors, t);
      barrier_wait(written_full, chunk & 1);
      take_over(fresh, written_room, lane);
      warp_arrive(written_empty, lane);
      fence_registers(out);
      warpgroup_arrive();
      group_by_rows(out, fresh, stage + Config::scores, true);
      warpgroup_wait<0>();
      fence_registers(out);
      warp_arrive(empty + 8 * slot, lane);
#pragma unroll
      for (int pair = 0; pair < 4; ++pair) as_left_side(ready[pair], out + 8 * pair);
    }
    write_ready(work.chunks - 1);
  }
#endif
}

}  // namespace headroom::kernels::cuda
