// SPDX-License-Identifier: Apache-2.0
// Where pieces of a swizzled tile lie, and numbers as sums of two bf16.
#pragma once

#include <cstdint>

#include "kernels/cuda/pipeline.cuh"

namespace headroom::kernels::cuda {

/// Shared address of 16-byte piece `piece` (0 to 7) of a panel's row.
__device__ __forceinline__ std::uint32_t panel_piece(std::uint32_t panel, int row, int piece) {
  return panel + row * 128 + ((piece ^ (row & 7)) << 4);
}

/// x and y in bf16, and what rounding left of them.
struct SplitPair {
  std::uint32_t high, low;
};
__device__ __forceinline__ SplitPair split_pair(float x, float y) {
  const std::uint32_t high = pack(x, y);
  return {high, pack(x - __uint_as_float(high << 16), y - __uint_as_float(high & 0xffff0000u))};
}

}  // namespace headroom::kernels::cuda
