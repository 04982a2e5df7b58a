// SPDX-License-Identifier: Apache-2.0
// What row-wise kernels share: pieces of eight bf16 in 16 bytes, and small arithmetic on them.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/pipeline.cuh"

namespace headroom::kernels::cuda {

/// The bf16 of 16 bytes as eight fp32, and back.
__device__ __forceinline__ void widen(float (&to)[8], const uint4& piece) {
  const std::uint32_t words[4] = {piece.x, piece.y, piece.z, piece.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    to[2 * i] = __uint_as_float(words[i] << 16);
    to[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}
__device__ __forceinline__ uint4 narrow(const float (&from)[8]) {
  return make_uint4(pack(from[0], from[1]), pack(from[2], from[3]), pack(from[4], from[5]), pack(from[6], from[7]));
}
__device__ __forceinline__ const uint4* piece_at(const void* base, std::int64_t element) {
  return reinterpret_cast<const uint4*>(static_cast<const __nv_bfloat16*>(base) + element);
}
__device__ __forceinline__ uint4* piece_at(void* base, std::int64_t element) {
  return reinterpret_cast<uint4*>(static_cast<__nv_bfloat16*>(base) + element);
}
__device__ __forceinline__ float silu(float x) {
  return __fdividef(x, 1 + __expf(-x));
}
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(~0u, value, step);
  return value;
}

}  // namespace headroom::kernels::cuda
