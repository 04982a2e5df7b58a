// SPDX-License-Identifier: Apache-2.0
// Products of one warp (PTX ISA, "mma.sync", "ldmatrix", "stmatrix"), and whole runs of bytes brought by the copy
// engine. Tiles are swizzled as in config.h.
#pragma once

#include <cstdint>

#include "kernels/cuda/pipeline.cuh"

namespace headroom::kernels::cuda {

/// Four matrices of 8 x 8 bf16; lane l names row l & 7 of matrix l >> 3 and gets columns 2 (l & 3) and one more of row
/// l >> 2 of each.
__device__ __forceinline__ void load_matrices(std::uint32_t (&to)[4], std::uint32_t at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(at)
               : "memory");
}
/// The same of the matrices turned over.
__device__ __forceinline__ void load_turned(std::uint32_t (&to)[4], std::uint32_t at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
               : "r"(at)
               : "memory");
}
__device__ __forceinline__ void store_turned(std::uint32_t at, std::uint32_t a, std::uint32_t b, std::uint32_t c,
                                             std::uint32_t d) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};\n" ::"r"(at), "r"(a), "r"(b),
               "r"(c), "r"(d)
               : "memory");
}

/// d[16, 8] += a[16, 16] b[16, 8]. Lane l = 4 g + t: d is rows g and g + 8, columns 2 t and 2 t + 1; a is those rows at
/// columns 2 t, 2 t + 1 (a0, a1) and 8 more (a2, a3); b is rows 2 t, 2 t + 1 (b0) and 8 more (b1) of column g.
__device__ __forceinline__ void mma_16x8(float* d, const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Barriers that were made are seen by the copy engine.
__device__ __forceinline__ void fence_barriers() {
  asm volatile("fence.mbarrier_init.release.cluster;\n" ::: "memory");
}
/// One arrival, and `bytes` more to come before the phase is complete.
__device__ __forceinline__ void barrier_expect(std::uint32_t barrier, int bytes) {
  asm volatile("{\n.reg .b64 s;\nmbarrier.arrive.expect_tx.shared::cta.b64 s, [%0], %1;\n}\n" ::"r"(barrier), "r"(bytes)
               : "memory");
}
/// `bytes` (a multiple of 16) from global to shared memory, both aligned to 16, counted by the barrier.
__device__ __forceinline__ void copy_run(std::uint32_t to, const void* from, int bytes, std::uint32_t barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];\n" ::"r"(to),
               "l"(from), "r"(bytes), "r"(barrier)
               : "memory");
}

/// 32-bit pieces of shared memory by address.
__device__ __forceinline__ void store_shared(std::uint32_t at, std::uint32_t value) {
  asm volatile("st.shared.b32 [%0], %1;\n" ::"r"(at), "r"(value) : "memory");
}
__device__ __forceinline__ void store_shared_half(std::uint32_t at, std::uint32_t value) {
  asm volatile("{\n.reg .b16 h;\ncvt.u16.u32 h, %1;\nst.shared.b16 [%0], h;\n}\n" ::"r"(at), "r"(value) : "memory");
}
__device__ __forceinline__ uint4 load_shared(std::uint32_t at) {
  uint4 value;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];\n"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "r"(at)
               : "memory");
  return value;
}

}  // namespace headroom::kernels::cuda
