// SPDX-License-Identifier: Apache-2.0
// Norms with their sums, gates of MLPs, and heads with norms, rotation and gates: bound by memory, 16 bytes a thread
// and access.
#pragma once

#include <cuda_bf16.h>

#include <type_traits>

#include "kernels/cuda/elements.cuh"
#include "kernels/cuda/rows/config.h"

namespace headroom::kernels::cuda {

/// One block a row; each thread holds `Pieces` of 8 numbers.
template <int Pieces>
__global__ void __launch_bounds__(256) norm_rows_kernel(const NormRowsParams p) {
  extern __shared__ __align__(128) char shared_bytes[];  // a sum a warp
  auto* const sums = reinterpret_cast<float*>(shared_bytes);
  const std::int64_t row = blockIdx.x;
  uint4 held[Pieces];
  float squares = 0;
#pragma unroll
  for (int i = 0; i < Pieces; ++i) {
    const int column = (i * 256 + static_cast<int>(threadIdx.x)) * 8;
    held[i] = make_uint4(0, 0, 0, 0);
    if (column >= p.width) continue;
    held[i] = *piece_at(p.hidden, row * p.hidden_row + column);
    float values[8];
    widen(values, held[i]);
    if (p.addend) {
      float added[8];
      widen(added, *piece_at(p.addend, row * p.addend_row + column));
#pragma unroll
      for (int j = 0; j < 8; ++j) values[j] += added[j];
      held[i] = narrow(values);
      *piece_at(p.hidden, row * p.hidden_row + column) = held[i];
      widen(values, held[i]);
    }
#pragma unroll
    for (int j = 0; j < 8; ++j) squares += values[j] * values[j];
  }
  if (!p.out) return;
  squares = warp_sum(squares);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = squares;
  __syncthreads();
  squares = 0;
#pragma unroll
  for (int warp = 0; warp < 8; ++warp) squares += sums[warp];
  const float scale = rsqrtf(squares / static_cast<float>(p.width) + p.epsilon);
#pragma unroll
  for (int i = 0; i < Pieces; ++i) {
    const int column = (i * 256 + static_cast<int>(threadIdx.x)) * 8;
    if (column >= p.width) continue;
    float values[8], weights[8];
    widen(values, held[i]);
    widen(weights, *piece_at(p.weight, column));
#pragma unroll
    for (int j = 0; j < 8; ++j) values[j] *= scale * weights[j];
    *piece_at(p.out, row * p.out_row + column) = narrow(values);
  }
}

__global__ void __launch_bounds__(256) silu_mul_kernel(const SiluMulParams p) {
  const auto blocks = static_cast<unsigned>((p.width + 2047) / 2048);  // of a row
  const std::int64_t row = blockIdx.x / blocks, column = (blockIdx.x % blocks * 256 + threadIdx.x) * 8;
  if (column >= p.width) return;
  float gate[8], up[8];
  widen(gate, *piece_at(p.gate_up, row * p.gate_up_row + column));
  widen(up, *piece_at(p.gate_up, row * p.gate_up_row + p.width + column));
#pragma unroll
  for (int i = 0; i < 8; ++i) gate[i] = silu(gate[i]);
  widen(gate, narrow(gate));  // as an operator of its own leaves it
#pragma unroll
  for (int i = 0; i < 8; ++i) gate[i] *= up[i];
  *piece_at(p.out, row * p.out_row + column) = narrow(gate);
}

/// One warp a row and head; lane l holds elements l N … l N + N - 1, N = HeadDim / 32.
template <int HeadDim>
__global__ void __launch_bounds__(256) split_heads_kernel(const SplitHeadsParams p) {
  constexpr int N = HeadDim / 32, words = N / 2;
  const int lane = threadIdx.x % 32, heads = p.num_q_heads + 2 * p.num_kv_heads;
  const unsigned at = blockIdx.x * 8 + threadIdx.x / 32;
  const std::int64_t row = at / static_cast<unsigned>(heads);
  if (row >= p.rows) return;  // whole warps
  const int head = static_cast<int>(at % static_cast<unsigned>(heads)), of_k = head - p.num_q_heads,
            of_v = of_k - p.num_kv_heads;
  const bool is_q = of_k < 0, is_v = of_v >= 0;
  const int step = p.gate ? 2 : 1;  // a head of q and its gate
  const std::int64_t from = row * p.qkv_row +
                            static_cast<std::int64_t>(is_q ? head * step : p.num_q_heads * step + of_k) * HeadDim +
                            lane * N;
  using Piece = std::conditional_t<words == 4, uint4, std::conditional_t<words == 2, uint2, std::uint32_t>>;
  union Held {
    Piece piece;
    std::uint32_t word[words];
  };
  const auto* const qkv = static_cast<const __nv_bfloat16*>(p.qkv);
  Held held;
  held.piece = *reinterpret_cast<const Piece*>(qkv + from);
  if (is_q && p.gate)
    *reinterpret_cast<Piece*>(static_cast<__nv_bfloat16*>(p.gate) + row * p.gate_row + head * HeadDim + lane * N) =
        *reinterpret_cast<const Piece*>(qkv + from + HeadDim);
  float values[N];
  const auto widen_held = [&] {
#pragma unroll
    for (int i = 0; i < words; ++i) {
      values[2 * i] = __uint_as_float(held.word[i] << 16);
      values[2 * i + 1] = __uint_as_float(held.word[i] & 0xffff0000u);
    }
  };
  const auto narrow_held = [&] {
#pragma unroll
    for (int i = 0; i < words; ++i) held.word[i] = pack(values[2 * i], values[2 * i + 1]);
  };
  if (!is_v) {
    widen_held();
    if (const void* const norm = is_q ? p.q_norm : p.k_norm) {
      float squares = 0;
#pragma unroll
      for (int i = 0; i < N; ++i) squares += values[i] * values[i];
      const float scale = rsqrtf(warp_sum(squares) / HeadDim + p.epsilon);
#pragma unroll
      for (int i = 0; i < N; ++i)
        values[i] *= scale * __bfloat162float(static_cast<const __nv_bfloat16*>(norm)[lane * N + i]);
      narrow_held();  // as an operator of its own leaves it
      widen_held();
    }
    const int partner = p.half / N;  // so many lanes away
    const bool first = lane < partner, rotated = lane < 2 * partner;
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const float other = __shfl_sync(~0u, values[i], (first ? lane + partner : lane - partner) & 31);
      if (!rotated) continue;
      const std::int64_t angle = row * p.half + (first ? lane : lane - partner) * N + i;
      values[i] = values[i] * p.cosine[angle] + (first ? -other : other) * p.sine[angle];
    }
    narrow_held();
  }
  void* const base = is_q ? p.q : is_v ? p.v : p.k;
  const std::int64_t place = is_q ? head * p.q_head : is_v ? of_v * p.v_head : of_k * p.k_head;
  *reinterpret_cast<Piece*>(static_cast<__nv_bfloat16*>(base) + place + row * HeadDim + lane * N) = held.piece;
}

__global__ void __launch_bounds__(256) gate_heads_kernel(const GateHeadsParams p) {
  const int width = p.num_heads * p.head_dim;
  const auto blocks = static_cast<unsigned>((width + 2047) / 2048);  // of a row
  const std::int64_t row = blockIdx.x / blocks;
  const int column = static_cast<int>(blockIdx.x % blocks * 256 + threadIdx.x) * 8, head = column / p.head_dim;
  if (column >= width) return;
  float values[8], gates[8];
  widen(values, *piece_at(p.heads, row * p.heads_row + head * p.heads_head + column % p.head_dim));
  widen(gates, *piece_at(p.gate, row * p.gate_row + column));
#pragma unroll
  for (int i = 0; i < 8; ++i) gates[i] = __fdividef(1.0f, 1 + __expf(-gates[i]));
  widen(gates, narrow(gates));  // as an operator of its own leaves it
#pragma unroll
  for (int i = 0; i < 8; ++i) values[i] *= gates[i];
  *piece_at(p.out, row * p.out_row + column) = narrow(values);
}

}  // namespace headroom::kernels::cuda
