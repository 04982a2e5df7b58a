// SPDX-License-Identifier: Apache-2.0
// core/kernels/cuda/pipeline.cuh for the host: what the linear layers' and rows' kernels use of it.
#pragma once

#include <cuda_bf16.h>

#include "lanes.h"

namespace headroom::kernels::cuda {

inline std::uint32_t shared_address(const void* at) {
  return static_cast<std::uint32_t>(static_cast<const char*>(at) - shared_bytes);
}
inline float power_of_2(float x) {
  return std::exp2(x);
}
inline std::uint32_t pack(float low, float high) {
  return bf16_bits(low) | std::uint32_t{bf16_bits(high)} << 16;
}

inline void copy_16(std::uint32_t to, const void* from) {
  host::start_piece(to, from);
}
inline void copy_commit() {}
template <int Pending>
void copy_wait() {
  static_assert(Pending == 0);
  host::finish_pieces();
}
inline void fence_copies() {}

inline void barrier_init(std::uint32_t barrier, int arrivals) {
  host::make_barrier(barrier, arrivals);
}
inline void barrier_arrive(std::uint32_t barrier) {
  host::arrive(barrier, 0);
}
inline void barrier_wait(std::uint32_t barrier, int parity) {
  while (!host::phase_is_over(barrier, parity)) host::wait_a_turn();
}

}  // namespace headroom::kernels::cuda
