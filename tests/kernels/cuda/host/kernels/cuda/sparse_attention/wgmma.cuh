// SPDX-License-Identifier: Apache-2.0
// core/kernels/cuda/sparse_attention/wgmma.cuh for the host: what the linear layers' kernels use of it. Products are done
// at once; that results are waited for is not looked at.
#pragma once

#include "kernels/cuda/delta_net/products.cuh"

namespace headroom::kernels::cuda {

inline void warpgroup_arrive() {}
inline void warpgroup_commit() {}
template <int Pending>
void warpgroup_wait() {}
template <int N>
void fence_registers(float (&)[N]) {}

inline std::uint64_t tile_descriptor(std::uint32_t at, std::uint32_t tile_bytes) {
  return std::uint64_t{tile_bytes} << 32 | at;
}

inline void mma_n128(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b) {
  host::open_words(a);
  __syncwarp();
  const int lane = own_lane();
  const auto base = static_cast<std::uint32_t>(b), tile_bytes = static_cast<std::uint32_t>(b >> 32);
  for (int i = 0; i < 64; ++i) {
    const int row = lane / 4 + i % 4 / 2 * 8, n = i / 4 * 8 + lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k) {
      const std::uint32_t at = base + n / 64 * tile_bytes + k / 8 * 1024 + k % 8 * 128 + n % 64 * 2;
      d[i] += host::left_side(row, k) * host::bf16_at(at ^ (at >> 3 & 0x70));
    }
  }
  __syncwarp();
}

}  // namespace headroom::kernels::cuda
