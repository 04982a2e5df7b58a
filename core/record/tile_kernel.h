// SPDX-License-Identifier: Apache-2.0
// The inner loops of tiles.cpp, compiled for several instruction sets and chosen at run time. Internal to core/record.
#pragma once

#include <cstdint>

namespace headroom::record {

/// Keys of a block; a packed panel holds them transposed in strips of 32: [8 strips, d, 32].
inline constexpr std::int64_t block_keys = 256;
inline constexpr std::int64_t strip_keys = 32;
/// Query rows of a block.
inline constexpr std::int64_t block_rows = 32;

struct TileKernels {
  const char* name;
  /// out[r, c] (+)= weight * exp(min(scale * q_r . k_c - lse_r, 0)) for r < rows, c < strips * 32; out has rows of
  /// block_keys. `q` [rows, d] contiguous, `lse` [rows], `panel` as above.
  void (*probabilities)(const float* q, const float* lse, std::int64_t rows, const float* panel, std::int64_t strips,
                        std::int64_t d, float scale, float weight, bool accumulate, float* out);
  /// Column-wise largest value and sum of `rows` rows of block_keys values; rows >= 1.
  void (*fold)(const float* p, std::int64_t rows, float* largest, float* sum);
  /// out[s] (+)= weight * exp(scale * q . k_s - lse) for s < keys; `k` [keys, d] contiguous.
  void (*row)(const float* q, float lse, const float* k, std::int64_t keys, std::int64_t d, float scale, float weight,
              bool accumulate, float* out);
  /// out[i] = exp(x[i]).
  void (*exp)(const float* x, std::int64_t count, float* out);
};

/// The fastest set that this processor runs.
const TileKernels& tile_kernels();
/// Every set that this processor runs, slowest first; for tests.
const TileKernels* const* all_tile_kernels(int& count);

}  // namespace headroom::record
