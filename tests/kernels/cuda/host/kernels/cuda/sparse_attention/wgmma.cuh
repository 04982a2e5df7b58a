// SPDX-License-Identifier: Apache-2.0
// core/kernels/cuda/sparse_attention/wgmma.cuh for the host: what the linear layers' kernels use of it. Until a product is
// waited for, its accumulators are NaN, and it reads shared memory only then.
#pragma once

#include "kernels/cuda/delta_net/products.cuh"

namespace headroom::kernels::cuda {

inline void warpgroup_arrive() {}
inline void warpgroup_commit() {
  host::commit_products();
}
template <int Pending>
void warpgroup_wait() {
  host::finish_products(Pending);
}
template <int N>
void fence_registers(float (&)[N]) {}

inline std::uint64_t tile_descriptor(std::uint32_t at, std::uint32_t tile_bytes) {
  return std::uint64_t{tile_bytes} << 32 | at;
}

/// d[64, 128] += a b, b with its 128 contiguous, in tiles of 64.
inline void mma_n128(float (&d)[64], const std::uint32_t (&a)[4], std::uint64_t b) {
  host::start_product(d, 64, a, 1, [b](int n, int k) {
    const auto base = static_cast<std::uint32_t>(b), tile_bytes = static_cast<std::uint32_t>(b >> 32);
    return base + n / 64 * tile_bytes + k / 8 * 1024 + k % 8 * 128 + n % 64 * 2;
  });
}

}  // namespace headroom::kernels::cuda
