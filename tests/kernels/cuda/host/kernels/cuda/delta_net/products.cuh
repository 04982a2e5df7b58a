// SPDX-License-Identifier: Apache-2.0
// core/kernels/cuda/delta_net/products.cuh for the host: each instruction as the PTX ISA defines it, lane by lane.
#pragma once

#include "kernels/cuda/pipeline.cuh"

namespace headroom::kernels::cuda {
namespace host {

/// Eight lanes at a time read or write 16 bytes each: all in different banks.
inline void look_at_banks(const char* what) {
  for (int first = 0; first < 32; first += 8) {
    unsigned banks = 0;
    for (int lane = first; lane < first + 8; ++lane) {
      const std::uint32_t at = of_lane(lane).words[0];
      if (at % 16 != 0) complain(std::string(what) + " is not aligned");
      banks |= 1u << (at / 16 % 8);
    }
    if (banks != 255) complain(std::string(what) + " meets bank conflicts");
  }
}
inline void open_words(const std::uint32_t (&words)[4]) {
  std::memcpy(own().words, words, sizeof words);
}

}  // namespace host

inline void load_matrices(std::uint32_t (&to)[4], std::uint32_t at) {
  host::own().words[0] = at;
  __syncwarp();
  host::look_at_banks("ldmatrix");
  const int lane = own_lane();
  for (int matrix = 0; matrix < 4; ++matrix)
    std::memcpy(&to[matrix], shared_bytes + host::of_lane(matrix * 8 + lane / 4).words[0] + lane % 4 * 4, 4);
  __syncwarp();
}
inline void load_turned(std::uint32_t (&to)[4], std::uint32_t at) {
  host::own().words[0] = at;
  __syncwarp();
  host::look_at_banks("ldmatrix.trans");
  const int lane = own_lane();
  for (int matrix = 0; matrix < 4; ++matrix) {
    std::uint16_t halves[2];
    for (int i = 0; i < 2; ++i)
      std::memcpy(&halves[i],
                  shared_bytes + host::of_lane(matrix * 8 + lane % 4 * 2 + i).words[0] + lane / 4 * 2, 2);
    std::memcpy(&to[matrix], halves, 4);
  }
  __syncwarp();
}
inline void store_turned(std::uint32_t at, std::uint32_t a, std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  host::own().words[0] = at;
  __syncwarp();
  host::look_at_banks("stmatrix.trans");
  const std::uint32_t words[4] = {a, b, c, d};
  const int lane = own_lane();
  for (int matrix = 0; matrix < 4; ++matrix)
    for (int i = 0; i < 2; ++i) {
      const auto half = static_cast<std::uint16_t>(words[matrix] >> 16 * i);
      std::memcpy(shared_bytes + host::of_lane(matrix * 8 + lane % 4 * 2 + i).words[0] + lane / 4 * 2, &half, 2);
    }
  __syncwarp();
}

inline void mma_16x8(float* d, const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  host::open_words(a);
  host::own().words[4] = b0;
  host::own().words[5] = b1;
  __syncwarp();
  const int lane = own_lane();
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 16; ++k)
      d[i] += host::left_side(row, k) * host::bf16_of(host::of_lane(column * 4 + k % 8 / 2).words[4 + k / 8], k % 2);
  }
  __syncwarp();
}

inline void fence_barriers() {}
inline void barrier_expect(std::uint32_t barrier, int bytes) {
  host::arrive(barrier, bytes);
}
inline void copy_run(std::uint32_t to, const void* from, int bytes, std::uint32_t barrier) {
  host::start_copy(to, from, bytes, barrier);
}

inline void store_shared(std::uint32_t at, std::uint32_t value) {
  std::memcpy(shared_bytes + at, &value, sizeof value);
}
inline void store_shared_half(std::uint32_t at, std::uint32_t value) {
  std::memcpy(shared_bytes + at, &value, 2);
}
inline uint4 load_shared(std::uint32_t at) {
  uint4 value;
  std::memcpy(&value, shared_bytes + at, sizeof value);
  return value;
}

}  // namespace headroom::kernels::cuda
