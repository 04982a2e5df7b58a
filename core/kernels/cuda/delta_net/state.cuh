// SPDX-License-Identifier: Apache-2.0
// The state from chunk to chunk, and the output: one block a value head and 16 columns of values a warp. All is
// computed turned over (values x keys, values x rows), so that what one product gives is the left side of the next in
// the same registers: warps exchange nothing, and the state stays in fp32 registers from the first chunk to the last.
#pragma once

#include <cuda_bf16.h>

#include "kernels/cuda/delta_net/prepare.cuh"
#include "kernels/cuda/delta_net/products.cuh"
#include "kernels/cuda/delta_net/tiles.cuh"

namespace headroom::kernels::cuda {

/// d[16 values, 64 rows] += a[values, 16 Parts] tile[64 rows, 16 Parts]^T. `Lower`: the tile has nothing above
/// its diagonal.
template <int Parts, bool Lower>
__device__ __forceinline__ void warp_by_rows(float (&d)[32], const std::uint32_t (&a)[Parts][4], std::uint32_t tile,
                                             int lane) {
  const int matrix = lane / 8, in_matrix = lane % 8;
#pragma unroll
  for (int part = 0; part < Parts; ++part) {
    const std::uint32_t panel = tile + part / 4 * delta_panel_bytes;
#pragma unroll
    for (int pair = Lower ? part : 0; pair < 4; ++pair) {
      std::uint32_t b[4];
      load_matrices(b, panel_piece(panel, 16 * pair + matrix / 2 * 8 + in_matrix, part % 4 * 2 + matrix % 2));
      mma_16x8(d + 8 * pair, a[part], b[0], b[1]);
      mma_16x8(d + 8 * pair + 4, a[part], b[2], b[3]);
    }
  }
}

/// state[values, 128 of keys] += a[values, 64 rows] k[64 rows, 128].
__device__ __forceinline__ void warp_by_keys(float (&state)[64], const std::uint32_t (&a)[4][4], std::uint32_t k,
                                             int lane) {
  const int matrix = lane / 8, in_matrix = lane % 8;
#pragma unroll
  for (int part = 0; part < 4; ++part)
#pragma unroll
    for (int pair = 0; pair < 8; ++pair) {
      std::uint32_t b[4];
      load_turned(b, panel_piece(k + pair / 4 * delta_panel_bytes, 16 * part + matrix % 2 * 8 + in_matrix,
                                 pair % 4 * 2 + matrix / 2));
      mma_16x8(state + 8 * pair, a[part], b[0], b[1]);
      mma_16x8(state + 8 * pair + 4, a[part], b[2], b[3]);
    }
}

/// Two neighbouring tiles of 8 columns of a result as a left side of 16.
__device__ __forceinline__ void as_left_side(std::uint32_t (&a)[4], const float* two_tiles) {
#pragma unroll
  for (int i = 0; i < 4; ++i) a[i] = pack(two_tiles[2 * i], two_tiles[2 * i + 1]);
}

/// Brings the chunks into the ring, one after the other; one thread.
__device__ __forceinline__ void delta_copy_chunks(const DeltaWork& work, std::uint32_t shared, int head, int panel) {
  const DeltaNetParams& p = work.p;
  using Config = DeltaStateConfig;
  const int key_head = delta_key_head(p, head);
  const std::int64_t chunks = work.chunks;
  const std::uint32_t full = shared + Config::barriers, empty = full + 8 * Config::stages;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int slot = static_cast<int>(chunk % Config::stages), turn = static_cast<int>(chunk / Config::stages);
    const std::uint32_t stage = shared + slot * Config::stage_bytes, barrier = full + 8 * slot;
    barrier_wait(empty + 8 * slot, (turn + 1) & 1);
    barrier_expect(barrier, Config::copied_bytes);
    const std::int64_t keys = (chunk * p.key_heads + key_head) * delta_tile_bytes;
    const std::int64_t values = chunk * p.value_heads + head;
    copy_run(stage + Config::k, work.k + keys, delta_tile_bytes, barrier);
    copy_run(stage + Config::v, work.v + values * delta_tile_bytes + panel * delta_panel_bytes, delta_panel_bytes,
             barrier);
    copy_run(stage + Config::factors, work.factors + values * 192, delta_factor_bytes, barrier);
    copy_run(stage + Config::inverse, work.inverse + values * delta_panel_bytes, delta_panel_bytes, barrier);
    copy_run(stage + Config::q, work.q + keys, delta_tile_bytes, barrier);
    copy_run(stage + Config::scores, work.scores + values * delta_panel_bytes, delta_panel_bytes, barrier);
  }
}

/// A stage's factors, of two neighbouring rows each.
struct DeltaFactors {
  const float2 *left, *rates, *left_at_end;
};
__device__ __forceinline__ DeltaFactors delta_factors(const char* block_bytes, std::uint32_t stage) {
  const char* const at = block_bytes + (stage - shared_address(block_bytes)) + DeltaStateConfig::factors;
  const auto* const factors = reinterpret_cast<const float2*>(at);
  return {factors, factors + 32, factors + 64};
}

/// rate (v - what the decayed state holds of the row's key), as a left side. `column`: the warp's first piece of v.
__device__ __forceinline__ void delta_changes(std::uint32_t (&changes)[4][4], const float (&held)[32], std::uint32_t v,
                                              int column, const DeltaFactors& factors, int lane) {
  const int matrix = lane / 8, in_matrix = lane % 8, t = lane % 4;
#pragma unroll
  for (int pair = 0; pair < 4; ++pair) {
    std::uint32_t own[4];  // rows 16 pair + 2 t and one more at values g, g + 8; then 8 rows on
    load_turned(own, panel_piece(v, 16 * pair + matrix / 2 * 8 + in_matrix, column + matrix % 2));
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int tile = 2 * pair + i / 2;
      const float2 decay = factors.left[4 * tile + t], rate = factors.rates[4 * tile + t];
      const float* const of_state = held + 4 * tile + i % 2 * 2;
      changes[pair][i] = pack(rate.x * (__uint_as_float(own[i] << 16) - decay.x * of_state[0]),
                              rate.y * (__uint_as_float(own[i] & 0xffff0000u) - decay.y * of_state[1]));
    }
  }
}
/// What of it is left at the chunk's end, as a left side.
__device__ __forceinline__ void delta_kept(std::uint32_t (&kept)[4][4], const float (&written)[32],
                                           const DeltaFactors& factors, int t) {
#pragma unroll
  for (int tile = 0; tile < 8; ++tile) {
    const float2 end = factors.left_at_end[4 * tile + t];
#pragma unroll
    for (int i = 0; i < 2; ++i)
      kept[tile / 2][tile % 2 * 2 + i] = pack(written[4 * tile + 2 * i] * end.x, written[4 * tile + 2 * i + 1] * end.y);
  }
}
__device__ __forceinline__ void delta_decay(float (&out)[32], const DeltaFactors& factors, int t) {
#pragma unroll
  for (int tile = 0; tile < 8; ++tile) {
    const float2 decay = factors.left[4 * tile + t];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      out[4 * tile + 2 * i] *= decay.x;
      out[4 * tile + 2 * i + 1] *= decay.y;
    }
  }
}

/// Where the head's state lies, and a warp's 16 columns of it: [values, keys], 16 tiles of 8 keys.
__device__ __forceinline__ float* delta_memory(const DeltaNetParams& p, int head) {
  const int group = p.value_heads / p.key_heads;
  const int in_group = p.tiled_heads ? head / p.key_heads : head % group;
  return p.state + (static_cast<std::int64_t>(delta_key_head(p, head)) * group + in_group) * 128 * 128;
}
__device__ __forceinline__ void delta_read_state(float (&state)[64], const float* memory, int first_value, int lane) {
#pragma unroll
  for (int i = 0; i < 64; ++i)
    state[i] = memory[(i / 4 * 8 + lane % 4 * 2 + i % 2) * 128 + first_value + lane / 4 + i % 4 / 2 * 8];
}
__device__ __forceinline__ void delta_write_state(float* memory, const float (&state)[64], int first_value, int lane) {
#pragma unroll
  for (int i = 0; i < 64; ++i)
    memory[(i / 4 * 8 + lane % 4 * 2 + i % 2) * 128 + first_value + lane / 4 + i % 4 / 2 * 8] = state[i];
}

/// A warp's 16 columns of a chunk's output, [values, rows] as two tiles of 8 rows a piece, into rows of memory.
__device__ __forceinline__ void delta_write_rows(const std::uint32_t (&out)[4][4], std::uint32_t room,
                                                 __nv_bfloat16* to, std::int64_t out_row, std::int64_t rows, int lane) {
  const int matrix = lane / 8, in_matrix = lane % 8;
  // A row has two pieces of 16 bytes; they change places every four rows, against bank conflicts.
#pragma unroll
  for (int pair = 0; pair < 4; ++pair) {
    const int row = 16 * pair + matrix / 2 * 8 + in_matrix;
    store_turned(room + row * 32 + ((matrix % 2 ^ (row / 4 & 1)) << 4), out[pair][0], out[pair][1], out[pair][2],
                 out[pair][3]);
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = 16 * i + lane / 2, half = lane % 2;
    const uint4 piece = load_shared(room + row * 32 + ((half ^ (row / 4 & 1)) << 4));
    if (row < rows) *reinterpret_cast<uint4*>(to + row * out_row + half * 8) = piece;
  }
  __syncwarp();  // before the next chunk is turned in the same room
}

__global__ void __launch_bounds__(DeltaStateConfig::threads, 1) delta_state_kernel(const DeltaWork work) {
#ifndef HEADROOM_NO_WGMMA
  using Config = DeltaStateConfig;
  extern __shared__ char shared_bytes[];
  const DeltaNetParams& p = work.p;
  const std::uint32_t shared = (shared_address(shared_bytes) + 1023) & ~1023u;
  const std::uint32_t full = shared + Config::barriers, empty = full + 8 * Config::stages;
  const int head = blockIdx.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32, t = lane % 4;
  const int first_value = blockIdx.y * Config::columns + warp * 16;  // of the head
  const std::int64_t chunks = work.chunks;
  if (threadIdx.x == 0) {
    for (int slot = 0; slot < Config::stages; ++slot) {
      barrier_init(full + 8 * slot, 1);
      barrier_init(empty + 8 * slot, 32 * Config::warps);
    }
    fence_barriers();
    fence_copies();
  }
  __syncthreads();
  if (warp == Config::warps) {
    if (lane == 0) delta_copy_chunks(work, shared, head, blockIdx.y * Config::columns / 64);
    return;
  }

  float* const memory = delta_memory(p, head);
  float state[64];
  delta_read_state(state, memory, first_value, lane);

  auto* const out_columns = static_cast<__nv_bfloat16*>(p.out) + head * delta_head_dim + first_value;
  const std::uint32_t room = shared + Config::turned + warp * 64 * 32;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int slot = static_cast<int>(chunk % Config::stages), turn = static_cast<int>(chunk / Config::stages);
    const std::uint32_t stage = shared + slot * Config::stage_bytes;
    const DeltaFactors factors = delta_factors(shared_bytes, stage);
    barrier_wait(full + 8 * slot, turn & 1);

    // What the state before the chunk holds of its keys, and gives to its queries.
    float held[32], out[32];
    {
      std::uint32_t before[8][4];
#pragma unroll
      for (int part = 0; part < 8; ++part) as_left_side(before[part], state + 8 * part);
#pragma unroll
      for (int i = 0; i < 32; ++i) held[i] = out[i] = 0;
      warp_by_rows<8, false>(held, before, stage + Config::k, lane);
      warp_by_rows<8, false>(out, before, stage + Config::q, lane);
    }

    // rate (v - decayed), then what rows of the chunk owe to each other: what they write.
    std::uint32_t changes[4][4];
    delta_changes(changes, held, stage + Config::v, first_value % 64 / 8, factors, lane);
    float written[32];
    const float all = factors.left[31].y;
#pragma unroll
    for (int i = 0; i < 64; ++i) state[i] *= all;
#pragma unroll
    for (int i = 0; i < 32; ++i) written[i] = 0;
    warp_by_rows<4, true>(written, changes, stage + Config::inverse, lane);

    std::uint32_t fresh[4][4], kept[4][4];
#pragma unroll
    for (int pair = 0; pair < 4; ++pair) as_left_side(fresh[pair], written + 8 * pair);
    delta_kept(kept, written, factors, t);
    delta_decay(out, factors, t);
    warp_by_keys(state, kept, stage + Config::k, lane);
    warp_by_rows<4, true>(out, fresh, stage + Config::scores, lane);
    // Each lane for itself: racecheck does not see that a warp's reads end before one of its lanes arrives.
    barrier_arrive(empty + 8 * slot);

    std::uint32_t ready[4][4];
#pragma unroll
    for (int pair = 0; pair < 4; ++pair) as_left_side(ready[pair], out + 8 * pair);
    const std::int64_t row = chunk * delta_chunk_rows;
    delta_write_rows(ready, room, out_columns + row * p.out_row, p.out_row, p.rows - row, lane);
  }
  delta_write_state(memory, state, first_value, lane);
#endif
}

}  // namespace headroom::kernels::cuda
